"""Where do the images come from? Latents (and labels) -> images in [0, 1]."""
from tadfkd.generators.autoencoder import VariationalAutoencoder
from tadfkd.generators.base_generator import BaseGenerator
from tadfkd.generators.conditional import (ConditionalGenerator,
                                           LabelEmbeddingGenerator)
from tadfkd.generators.procedural import (Blobs, DeadLeaves, ProceduralFamily,
                                          ProceduralGenerator, SpectralFields,
                                          Strokes)
from tadfkd.generators.upsampling import UpsamplingGenerator
from tadfkd.generators.without_network import NoiseGenerator, PixelGenerator

__all__ = [
    'BaseGenerator', 'Blobs', 'ConditionalGenerator', 'DeadLeaves',
    'LabelEmbeddingGenerator', 'NoiseGenerator', 'PixelGenerator',
    'ProceduralFamily', 'ProceduralGenerator', 'SpectralFields', 'Strokes',
    'UpsamplingGenerator', 'VariationalAutoencoder'
]
