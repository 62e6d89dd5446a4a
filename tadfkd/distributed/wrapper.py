"""The networks of an algorithm in a distributed run."""
from typing import Any

from mmengine.device import get_device
from mmengine.dist import get_world_size
from mmengine.model import MMSeparateDistributedDataParallel, is_model_wrapper
from torch import nn

from tadfkd.distributed.batch_norm import synchronize_batch_norms
from tadfkd.registry import MODEL_WRAPPERS


def unwrapped(network: nn.Module) -> Any:
    """The network itself, if it is in a distributed wrapper."""
    return network.module if is_model_wrapper(network) else network


@MODEL_WRAPPERS.register_module()
class DistributedNetworks(MMSeparateDistributedDataParallel):
    """Each trained network in a wrapper of its own, which exchanges gradients
    when a step trains that network, and then only.

    The batch norms of all but the teacher take the samples of all processes,
    so that each process holds the same networks at any time. The teacher is
    left as it is. So is a network that ``belongs_to_process``, whose weights
    are samples of this process; its gradients are what they are in the loss
    over the samples of all.

    Args:
        module: The algorithm.
        device_ids: None, which works on CPU and GPU alike.
        synchronize_batch_norm: Whether batch norms do. Otherwise each process
            normalises by its own samples, which saves two exchanges a layer;
            the statistics become those of the first one before evaluation
            and checkpoints.
        **options: Of torch's ``DistributedDataParallel``.
    """

    def __init__(self,
                 module: nn.Module,
                 device_ids: None = None,
                 synchronize_batch_norm: bool = True,
                 **options: Any) -> None:
        children = dict(module.named_children())
        for name, child in children.items():
            if name != 'teacher' and synchronize_batch_norm:
                synchronize_batch_norms(child)
        own = {
            name: child
            for name, child in children.items()
            if getattr(child, 'belongs_to_process', False)
        }
        for name in own:
            module._modules[name] = nn.Identity()
        super().__init__(module, device_ids=device_ids, **options)
        for name, child in own.items():
            module._modules[name] = child.to(get_device())
            for parameter in child.parameters():
                parameter.register_hook(
                    lambda gradient: gradient / get_world_size())
