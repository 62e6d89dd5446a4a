"""What drives a run: optimiser wrappers, hooks and launchers."""
from tadfkd.engine.launchers import join_process_group
from tadfkd.engine.optim import AutocastOptimWrapper, PerNetworkConstructor

__all__ = [
    'AutocastOptimWrapper', 'PerNetworkConstructor', 'join_process_group'
]
