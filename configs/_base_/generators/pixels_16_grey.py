generator = dict(
    type='PixelGenerator', batch_size=64, image_size=16, image_channels=1)
