"""What drives a run: optimiser wrappers, hooks and launchers."""
from tadfkd.engine.distributed import DistributedNetworks
from tadfkd.engine.launchers import process_group
from tadfkd.engine.loops import EpochLoop
from tadfkd.engine.optim import AutocastOptimWrapper, PerNetworkConstructor
from tadfkd.engine.storage import AtomicLocalBackend

__all__ = [
    'AtomicLocalBackend', 'AutocastOptimWrapper', 'DistributedNetworks',
    'EpochLoop', 'PerNetworkConstructor', 'process_group'
]
