"""Where do the images come from? Latents (and labels) -> images in [0, 1]."""
from tadfkd.generators.autoencoder import VariationalAutoencoder
from tadfkd.generators.base_generator import BaseGenerator
from tadfkd.generators.conditional import (ConditionalGenerator,
                                           LabelEmbeddingGenerator)
from tadfkd.generators.upsampling import UpsamplingGenerator
from tadfkd.generators.without_network import NoiseGenerator, PixelGenerator

__all__ = [
    'BaseGenerator', 'ConditionalGenerator', 'LabelEmbeddingGenerator',
    'NoiseGenerator', 'PixelGenerator', 'UpsamplingGenerator',
    'VariationalAutoencoder'
]
