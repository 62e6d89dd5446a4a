# DAFL's layers: epsilon 0.8, tanh and batch norm at the end.
generator = dict(
    type='UpsamplingGenerator',
    latent_size=128,
    image_size=16,
    image_channels=1,
    width=32,
    head='tanh_batch_norm',
    bn_eps=0.8)
