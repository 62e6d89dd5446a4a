generator = dict(type='NoiseGenerator', image_size=32)
