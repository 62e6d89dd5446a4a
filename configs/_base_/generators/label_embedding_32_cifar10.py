# arXiv 2310.00258. The embedding is random and orthogonal; the paper takes it
# from a text encoder (model.generator.embedding_file). The sizes are our own
# choice: with 400 images per synthesis, each class passes each noisy layer
# about once.
generator = dict(
    type='LabelEmbeddingGenerator',
    num_classes=10,
    num_noisy_layers=40,
    embedding_size=512,
    latent_size=256,
    image_size=32,
    width=64,
    head='sigmoid')
