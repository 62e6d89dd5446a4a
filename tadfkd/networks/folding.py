"""Networks in fewer operations, for inference."""
import copy

import torch
from mmcv.cnn import fuse_conv_bn
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def lean_copy(network: nn.Module, dtype: torch.dtype) -> nn.Module | None:
    """A frozen copy that answers alike with less work.

    Batch norms are folded into the convolutions before them. Weights of
    convolutions and linear layers are converted once, where
    :class:`torch.autocast` would convert those of a frozen network in each
    pass.

    Args:
        network: In eval mode. It stays as it is.
        dtype: Of the weights. The copy of another than float32 must be
            called within autocast of that type.

    Returns:
        The copy, or None if it would do the same work. Whether it gives the
        same answers must be tried: layers that are defined in another order
        than they are called are folded wrongly.
    """
    layers = [*network.modules()]
    folds = any(isinstance(layer, _BatchNorm) for layer in layers)
    if isinstance(network, torch.jit.ScriptModule) \
            or not (folds or dtype != torch.float32):
        return None
    try:
        lean = copy.deepcopy(network)
        if folds:
            fuse_conv_bn(lean)
    except (AttributeError, RuntimeError, TypeError):
        # It holds what cannot be copied, or has a batch norm after a
        # convolution that it does not fit.
        return None
    for layer in lean.modules():
        # A network in float64 stays as it is.
        if dtype != torch.float32 and isinstance(layer, nn.Conv2d | nn.Linear):
            layer.to(dtype)
    return lean.eval().requires_grad_(False)
