# TA-DFKD's layers.
generator = dict(
    type='UpsamplingGenerator',
    latent_size=128,
    image_size=16,
    image_channels=1,
    width=32,
    head='sigmoid',
    first_activation=True)
