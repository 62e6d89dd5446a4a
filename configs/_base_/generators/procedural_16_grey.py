# Fields, blobs and strokes; no parameters.
generator = dict(
    type='ProceduralGenerator',
    families=[
        dict(type='SpectralFields'),
        dict(type='Blobs'),
        dict(type='Strokes')
    ],
    image_size=16,
    image_channels=1)
