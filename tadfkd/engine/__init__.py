"""What drives a run: the loop, optimiser wrappers and hooks."""
from tadfkd.engine.loops import EpochLoop
from tadfkd.engine.optim import AutocastOptimWrapper, PerNetworkConstructor

__all__ = ['AutocastOptimWrapper', 'EpochLoop', 'PerNetworkConstructor']
