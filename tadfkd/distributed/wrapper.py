"""The distributed wrapper: which networks exchange gradients, and when."""
from typing import Any

from mmengine.device import get_device
from mmengine.dist import get_world_size
from mmengine.model import MMSeparateDistributedDataParallel, is_model_wrapper
from torch import nn

from tadfkd.distributed.batch_norm import synchronize_batch_norms
from tadfkd.registry import MODEL_WRAPPERS


def unwrapped(network: nn.Module) -> Any:
    """The network inside its distributed wrapper, or ``network`` itself."""
    return network.module if is_model_wrapper(network) else network


@MODEL_WRAPPERS.register_module()
class DistributedNetworks(MMSeparateDistributedDataParallel):
    """Wraps each trained network of an algorithm by itself.

    Gradients of a network are averaged over processes only when a step trains
    that network. Batch norms, except the teacher's, use the samples of all
    processes, so all processes hold equal networks at any time.

    A network with the attribute ``belongs_to_process`` is not wrapped: its
    weights are samples of this process (pixels). Its gradients are divided by
    the number of processes, which gives those of the loss over all samples.

    Args:
        module: The algorithm.
        device_ids: Must be None, which works on CPU and on GPU.
        synchronize_batch_norm: False lets each process normalise by its own
            samples, which saves two collectives per layer. Before evaluation
            and checkpoints, all processes then take over the statistics of
            the first process.
        **options: Passed to torch's ``DistributedDataParallel``.
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
