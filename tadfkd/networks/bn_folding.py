"""Batch norm as a part of the convolution before it."""
import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tadfkd.errors import UserError
from tadfkd.networks.capture import capture

#: Largest change of a logit, as a share of the largest logit, that counts as
#: rounding.
_ROUNDING = 1e-3


@torch.no_grad()
def folded(network: nn.Module, ask: Callable[[nn.Module, Tensor], Tensor],
           shape: tuple[int, ...]) -> nn.Module:
    """A copy of a network in eval mode with its batch norms folded.

    A batch norm is folded that takes the very tensor which a convolution
    gave, where both run once; what is left over stays as it is.

    Args:
        network: In eval mode; it does not change.
        ask: The logits of a network like it for a batch of inputs.
        shape: (C, H, W) of an input.

    Raises:
        UserError: If nothing can be folded, or the answer changes by more
            than rounding.
    """
    inputs_BCHW = torch.randn(
        2, *shape, generator=torch.Generator().manual_seed(0))
    expected_BK = ask(network, inputs_BCHW)
    copied = copy.deepcopy(network)
    pairs = _pairs(copied, lambda: ask(copied, inputs_BCHW))
    if not pairs:
        raise UserError(f'{type(network).__name__} has no batch norm behind a '
                        'convolution: set model.teacher.fold_bn to False')
    for convolution, norm in pairs:
        fused = fuse_conv_bn_eval(convolution, norm)
        convolution.weight, convolution.bias = fused.weight, fused.bias
    _replace(copied, {norm for _, norm in pairs})
    copied.requires_grad_(False)
    difference = (ask(copied, inputs_BCHW) - expected_BK).abs().max()
    allowed = _ROUNDING * expected_BK.abs().max().clamp_min(1.0)
    if not difference <= allowed:
        raise UserError(f'{type(network).__name__} answers differently with '
                        'folded batch norms (a logit changes by '
                        f'{difference:.2g}): set model.teacher.fold_bn to '
                        'False')
    return copied


def _pairs(
        network: nn.Module,
        forward: Callable[[], Any]) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Convolutions and the batch norm behind each."""
    # The tensors are kept, so that no two of them have one id.
    made: list[tuple[Tensor, nn.Conv2d]] = []
    handles = [
        module.register_forward_hook(lambda module, _, output: made.append(
            (output, module))) for module in network.modules()
        if type(module) is nn.Conv2d
    ]
    folds = [
        module for module in network.modules()
        if isinstance(module, nn.BatchNorm2d) and module.track_running_stats
    ]
    try:
        with capture(folds, lambda norm, inputs: (inputs, norm)) as taken:
            forward()
    finally:
        for handle in handles:
            handle.remove()

    def once(calls: list[tuple[Tensor, Any]]) -> dict[int, Any]:
        modules = [module for _, module in calls]
        return {
            id(tensor): module
            for tensor, module in calls if modules.count(module) == 1
        }

    convolutions, norms = once(made), once(taken)
    return [(convolutions[key], norms[key])
            for key in convolutions.keys() & norms.keys()]


def _replace(network: nn.Module, norms: set[nn.BatchNorm2d]) -> None:
    for parent in network.modules():
        for name, child in parent.named_children():
            if child in norms:
                # Where it stood, as other modules may count their children.
                setattr(parent, name, nn.Identity())
