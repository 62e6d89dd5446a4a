"""Data-free distillation algorithms: one paper, one file."""
from tadfkd.algorithms.base import BaseDFKD
from tadfkd.algorithms.tadfkd import TADFKD

__all__ = ['BaseDFKD', 'TADFKD']
