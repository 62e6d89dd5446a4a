"""Public CIFAR checkpoints -> mmpretrain checkpoints, checked in numbers."""
from tadfkd.converters.conversion import (STATISTICS, Conversion, convert,
                                          read_network)
from tadfkd.converters.source import PublicNetwork, source_weights

__all__ = [
    'STATISTICS', 'Conversion', 'PublicNetwork', 'convert', 'read_network',
    'source_weights'
]
