# The generator of DFQ and the inversion methods: latent 256, sigmoid head.
generator = dict(
    type='UpsamplingGenerator',
    latent_size=256,
    image_size=32,
    width=64,
    head='sigmoid')
