"""Which images may be learned from? Teacher output -> boolean mask."""
from tadfkd.selectors.base_selector import BaseSelector
from tadfkd.selectors.class_quota import ClassQuotaSelector
from tadfkd.selectors.gmm import GMMSelector
from tadfkd.selectors.thresholds import (ConfidenceSelector, EntropySelector,
                                         SelectAll, TopFractionSelector)

__all__ = [
    'BaseSelector', 'ClassQuotaSelector', 'ConfidenceSelector',
    'EntropySelector', 'GMMSelector', 'SelectAll', 'TopFractionSelector'
]
