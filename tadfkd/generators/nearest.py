"""Enlarging feature maps without the detour of the library."""
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class NearestUpsample(nn.Module):
    """Every pixel as two by two, bit by bit as ``nn.Upsample`` does.

    On a CPU, torch 2.14 copies contiguous maps into channels-last order,
    enlarges them and copies the result back.
    """

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        """Maps of twice the height and width."""
        if maps_BCHW.device.type == 'cpu' and maps_BCHW.is_contiguous():
            return _Doubled.apply(maps_BCHW)
        return functional.interpolate(maps_BCHW, scale_factor=2)


class _Doubled(torch.autograd.Function):
    """By views in the forward; torch's own backward makes no detour."""

    @staticmethod
    def forward(ctx: Any, maps_BCHW: Tensor) -> Tensor:
        batch, channels, height, width = ctx.shape = maps_BCHW.shape
        # Columns first: then whole rows are copied, which is faster.
        wide = maps_BCHW[..., None].expand(-1, -1, -1, -1,
                                           2).reshape(batch, channels, height,
                                                      1, 2 * width)
        return wide.expand(-1, -1, -1, 2, -1).reshape(batch, channels,
                                                      2 * height, 2 * width)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient, = gradients
        return torch.ops.aten.upsample_nearest2d_backward(
            gradient, gradient.shape[-2:], ctx.shape, 2.0, 2.0)
