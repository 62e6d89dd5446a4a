"""Batch norm over the samples of all processes, on any device."""
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from tadfkd.distributed.reductions import reduce_moments
from tadfkd.utils.precision import at_least_float32


class SynchronizedBatchNorm(_BatchNorm):
    """Batch norm over the samples of all processes, in training mode.

    torch's ``SyncBatchNorm`` works on GPUs only. All processes must call a
    layer at the same time; their batches may have different sizes, >= 1. In
    eval mode nothing is exchanged.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f'expected (B, C, ...), got {input.ndim} dims')

    def forward(self, input: Tensor) -> Tensor:
        """See ``torch.nn.BatchNorm2d``; (B, C) or (B, C, ...)."""
        if not self.training or get_world_size() == 1:
            return super().forward(input)
        self._check_input_dim(input)
        mean_C, variance_C = torch.batch_norm_update_stats(
            at_least_float32(input.detach()), None, None, 0.0)
        mean_C, variance_C, total = reduce_moments(
            mean_C, variance_C,
            input.numel() // input.shape[1])
        self._update_running(mean_C,
                             variance_C * total / (total - 1).clamp_min(1))
        return _Normalize.apply(input, self.weight, self.bias, mean_C,
                                variance_C, total, self.eps)

    @torch.no_grad()
    def _update_running(self, mean_C: Tensor, variance_C: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        weight = self.num_batches_tracked.reciprocal() \
            if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean_C, weight)
        self.running_var.lerp_(variance_C, weight)


class _Normalize(torch.autograd.Function):
    """Normalise by statistics that depend on the inputs of all processes.

    The gradients of weight and bias are local; the distributed wrapper
    averages them like those of any other parameter.
    """

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor | None,
                bias: Tensor | None, mean_C: Tensor, variance_C: Tensor,
                total: Tensor, eps: float) -> Tensor:
        ctx.save_for_backward(input, weight, mean_C, variance_C, total)
        ctx.eps = eps
        return functional.batch_norm(input, mean_C, variance_C, weight, bias,
                                     False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        input, weight, mean_C, variance_C, total = ctx.saved_tensors
        inverse_C = (variance_C + ctx.eps).rsqrt()
        # This is the gradient with constant statistics, and the two sums from
        # which the rest follows. CUDA's kernels require a weight, and the
        # statistics in both forms.
        result, along_C, sum_C = torch.ops.aten.native_batch_norm_backward(
            gradient, input,
            torch.ones_like(mean_C) if weight is None else weight, mean_C,
            variance_C, mean_C, inverse_C, False, ctx.eps, [True, True, True])
        sums = at_least_float32(torch.cat((sum_C, along_C)))
        all_reduce(sums)
        mean_gradient_C, mean_along_C = (sums / total).chunk(2)
        scale_C = inverse_C if weight is None else inverse_C * weight
        slope_C = scale_C * inverse_C * mean_along_C
        offset_C = mean_C * slope_C - scale_C * mean_gradient_C
        shape = (-1, *(1 for _ in input.shape[2:]))
        result += offset_C.to(result.dtype).view(shape)
        result.addcmul_(input, slope_C.to(result.dtype).view(shape), value=-1)
        affine = weight is not None
        return (result, along_C if affine else None, sum_C if affine else None,
                None, None, None, None)


def synchronize_batch_norms(network: nn.Module) -> None:
    """Let the batch norms of a network use the samples of all processes.

    Each layer remains the same object, because hooks and lists of layers
    refer to it. Classes with a forward of their own, such as timm's, are not
    changed.
    """
    for layer in network.modules():
        if isinstance(layer, _BatchNorm) and \
                type(layer).forward is _BatchNorm.forward:
            layer.__class__ = SynchronizedBatchNorm
