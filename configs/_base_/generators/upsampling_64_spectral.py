# arXiv 2201.03019: latent 1000, spectral norm, epsilon 0.8, tanh and batch
# norm at the end.
generator = dict(
    type='UpsamplingGenerator',
    latent_size=1000,
    image_size=64,
    width=64,
    head='tanh_batch_norm',
    bn_eps=0.8,
    spectral=True)
# A variational autoencoder replays images. Its decoder is like the generator.
replay = dict(
    type='GenerativeReplay',
    autoencoder=dict(
        type='VariationalAutoencoder',
        width=64,
        decoder=dict(
            type='UpsamplingGenerator',
            latent_size=1000,
            image_size=64,
            width=64,
            head='tanh_batch_norm',
            bn_eps=0.8)),
    divergence_weight=1e-5)
