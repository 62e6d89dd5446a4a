# arXiv 1905.09768: latent 100, batch norm at the end.
generator = dict(
    type='UpsamplingGenerator',
    latent_size=100,
    image_size=32,
    width=64,
    head='batch_norm')
