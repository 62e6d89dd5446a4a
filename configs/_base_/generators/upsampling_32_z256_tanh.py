# arXiv 1912.11006: latent 256, tanh and batch norm at the end.
generator = dict(
    type='UpsamplingGenerator',
    latent_size=256,
    image_size=32,
    width=64,
    head='tanh_batch_norm')
