# arXiv 2402.12406: latent 1000, width 64, LeakyReLU after the first batch
# norm, epsilon 0.8 in the second and third, sigmoid head.
generator = dict(
    type='UpsamplingGenerator',
    latent_size=1000,
    image_size=32,
    width=64,
    head='sigmoid',
    first_activation=True,
    bn_eps=0.8)
