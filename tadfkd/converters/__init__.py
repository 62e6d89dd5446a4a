"""How does a public CIFAR checkpoint become an mmpretrain checkpoint?"""
from tadfkd.converters.conversion import STATISTICS, convert, read_network
from tadfkd.converters.source import PublicNetwork, source_weights

__all__ = [
    'STATISTICS', 'PublicNetwork', 'convert', 'read_network', 'source_weights'
]
