generator = dict(type='NoiseGenerator', image_size=16, image_channels=1)
