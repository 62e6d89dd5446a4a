"""Generators: latents (and labels) -> images in [0, 1]."""
from tadfkd.generators.base import BaseGenerator
from tadfkd.generators.upsampling import UpsamplingGenerator

__all__ = ['BaseGenerator', 'UpsamplingGenerator']
