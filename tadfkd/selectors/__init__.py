"""Selectors: teacher output -> boolean mask of the samples to use."""
from tadfkd.selectors.base_selector import BaseSelector
from tadfkd.selectors.gmm import GMMSelector
from tadfkd.selectors.thresholds import (ConfidenceSelector, EntropySelector,
                                         SelectAll, TopFractionSelector)

__all__ = [
    'BaseSelector', 'ConfidenceSelector', 'EntropySelector', 'GMMSelector',
    'SelectAll', 'TopFractionSelector'
]
