"""What drives a run: the loop, optimiser wrappers and hooks."""
from tadfkd.engine.loops import EpochLoop
from tadfkd.engine.optim import AutocastOptimWrapper, PerNetworkConstructor
from tadfkd.engine.storage import AtomicLocalBackend

__all__ = [
    'AtomicLocalBackend', 'AutocastOptimWrapper', 'EpochLoop',
    'PerNetworkConstructor'
]
