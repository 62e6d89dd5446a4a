# G(z + e_y) for many classes (Do et al., NeurIPS 2022).
generator = dict(
    type='ConditionalGenerator',
    num_classes=100,
    latent_size=256,
    image_size=32,
    width=64,
    head='sigmoid')
