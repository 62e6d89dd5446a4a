# Latent 256 and sigmoid head, of DFQ and the inversion methods.
generator = dict(
    type='UpsamplingGenerator',
    latent_size=256,
    image_size=32,
    width=64,
    head='sigmoid')
