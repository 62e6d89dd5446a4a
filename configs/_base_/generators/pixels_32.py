generator = dict(type='PixelGenerator', batch_size=256, image_size=32)
