"""Frozen copies of networks that need less work per forward pass."""
import copy

import torch
from mmcv.cnn import fuse_conv_bn
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def folded(network: nn.Module) -> nn.Module | None:
    """A frozen copy with batch norms folded into the convolutions before
    them.

    Args:
        network: In eval mode. It stays as it is.

    Returns:
        The copy, or None if no batch norm could be folded. Whether it gives
        the same answers must be tried: layers that are defined in another
        order than they are called are folded wrongly.
    """
    if isinstance(network, torch.jit.ScriptModule) \
            or not _num_norms(network):
        return None
    try:
        copied = fuse_conv_bn(copy.deepcopy(network))
    except Exception:
        # Networks of users: some hold what cannot be copied, some compute
        # the weights of a convolution, and some have a batch norm that does
        # not fit the convolution before it.
        return None
    if _num_norms(copied) == _num_norms(network):
        return None
    return copied.eval().requires_grad_(False)


def with_weights_in(network: nn.Module,
                    dtype: torch.dtype) -> nn.Module | None:
    """A frozen copy whose convolutions and linear layers have weights of a
    lower precision.

    Within :class:`torch.autocast`, the weights of a frozen network are
    converted in each pass. Those of the copy are converted once.

    Args:
        network: In eval mode. It stays as it is.
        dtype: ``torch.bfloat16`` or ``torch.float16``. The copy must be called
            within autocast of this type.

    Returns:
        The copy, or None if the network cannot be copied.
    """
    try:
        copied = copy.deepcopy(network)
    except Exception:
        return None
    for layer in copied.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.to(dtype)
    return copied.eval().requires_grad_(False)


def _num_norms(network: nn.Module) -> int:
    return sum(isinstance(layer, _BatchNorm) for layer in network.modules())
