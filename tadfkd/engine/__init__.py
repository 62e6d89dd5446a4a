"""What drives a run: the loop, the optimiser wrappers and the hooks?"""
from tadfkd.engine.loops import EpochLoop
from tadfkd.engine.optim import AutocastOptimWrapper, PerNetworkConstructor
from tadfkd.engine.recorders import MLflowVisBackend
from tadfkd.engine.skip_nonfinite import GuardedOptimWrapper

__all__ = [
    'AutocastOptimWrapper', 'EpochLoop', 'GuardedOptimWrapper',
    'MLflowVisBackend', 'PerNetworkConstructor'
]
