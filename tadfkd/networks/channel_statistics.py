"""Mean and variance per channel, as fast as batch norm computes them."""
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def channel_statistics(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance over all dimensions but the second.

    On a CPU, batch norm's own kernel needs a tenth of the time of
    ``torch.var_mean``.

    Args:
        inputs: (B, F) or (B, F, ...), floating point. Sums are in float32 or
            float64, also where the inputs are in half precision.

    Returns:
        mean_F and variance_F, in float32 or float64. Gradients flow once.

    Example:
        >>> channel_statistics(torch.tensor([[1.0, 2.0], [3.0, 2.0]]))
        (tensor([2., 2.]), tensor([1., 0.]))
    """
    # Without an image there is nothing to sum: var_mean gives NaN.
    if inputs.device.type == 'cpu' and inputs.numel() > 0:
        mean_F, variance_F = _ChannelStatistics.apply(inputs)
        return mean_F, variance_F
    if inputs.dtype in (torch.float16, torch.bfloat16):
        inputs = inputs.float()
    variance_F, mean_F = torch.var_mean(
        inputs,
        dim=[dim for dim in range(inputs.ndim) if dim != 1],
        correction=0)
    return mean_F, variance_F


class _ChannelStatistics(torch.autograd.Function):

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> tuple[Tensor, Tensor]:
        dtype = torch.promote_types(inputs.dtype, torch.float32)
        # The type of the running statistics is that of the results. These
        # are thrown away.
        running_F = inputs.new_zeros(inputs.shape[1], dtype=dtype)
        mean_F, variance_F = torch.batch_norm_update_stats(
            inputs, running_F, running_F.clone(), 0.0)
        ctx.save_for_backward(inputs, mean_F)
        return mean_F, variance_F

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, mean_grad_F: Tensor,
                 variance_grad_F: Tensor) -> Tensor:
        inputs, mean_F = ctx.saved_tensors
        count = inputs.numel() // inputs.shape[1]
        # The gradient is a (x - mean) + b per channel: a batch norm without
        # division, in one pass.
        return F.batch_norm(
            inputs,
            mean_F,
            torch.ones_like(mean_F),
            weight=2 / count * variance_grad_F,
            bias=mean_grad_F / count,
            eps=0.0)
