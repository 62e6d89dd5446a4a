"""How do several processes train as one?"""
from tadfkd.distributed.launchers import process_group
from tadfkd.distributed.wrapper import DistributedNetworks

__all__ = ['DistributedNetworks', 'process_group']
