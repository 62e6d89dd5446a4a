# arXiv 2310.00258. The embedding is random and orthogonal; the paper's comes
# from a text encoder (model.generator.embedding_file). Sizes are ours, with
# each class about once in each noisy layer at 400 images a synthesis.
generator = dict(
    type='LabelEmbeddingGenerator',
    num_classes=100,
    num_noisy_layers=4,
    embedding_size=512,
    latent_size=256,
    image_size=32,
    width=64,
    head='sigmoid')
