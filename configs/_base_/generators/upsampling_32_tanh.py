# arXiv 1904.01186: latent 1000, epsilon 0.8, tanh and batch norm at the end.
generator = dict(
    type='UpsamplingGenerator',
    latent_size=1000,
    image_size=32,
    width=64,
    head='tanh_batch_norm',
    bn_eps=0.8)
