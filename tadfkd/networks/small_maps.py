"""Gradients of convolutions on small maps in half precision."""
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input
from torch.nn.modules.conv import _ConvNd

#: Widths of output maps below this one are small. oneDNN gives each pixel of
#: a row one of the 16 rows of a tile, so most of a tile stays empty.
SMALL_WIDTH = 8
_HALF = (torch.bfloat16, torch.float16)


class SmallMapConv2d(nn.Conv2d, _ConvNd):
    """A convolution whose weights get their gradient by one matrix product.

    On a CPU with AMX, forward and weight gradient of 512 channels of 4x4 take
    less than half the time (``docs/measured/fast/kernels.py``). Larger maps,
    other precisions and other devices go the usual way.
    """

    # _ConvNd is named as a base because the init_cfg of mmengine looks for
    # layers among the direct bases.

    def _conv_forward(self, input: Tensor, weight: Tensor,
                      bias: Tensor | None) -> Tensor:
        if torch.is_autocast_enabled(input.device.type):
            dtype = torch.get_autocast_dtype(input.device.type)
        else:
            dtype = weight.dtype
        if dtype not in _HALF or input.ndim != 4 \
                or torch.float64 in (input.dtype, weight.dtype) \
                or not weight.requires_grad \
                or input.device.type != 'cpu' or not torch.is_grad_enabled() \
                or input.shape[3] // self.stride[1] >= SMALL_WIDTH:
            return super()._conv_forward(input, weight, bias)
        output: Tensor = _Convolution.apply(
            input.to(dtype), weight.to(dtype),
            None if bias is None else bias.to(dtype), self.stride,
            self.padding)
        return output


def use_small_map_gradients(*networks: nn.Module) -> None:
    """Let the plain convolutions of networks be :class:`SmallMapConv2d`, in
    place.

    Those with groups, dilation or a padding that is no number stay.
    """
    for layer in nn.ModuleList(networks).modules():
        if type(layer) is nn.Conv2d and layer.groups == 1 \
                and layer.dilation == (1, 1) \
                and layer.padding_mode == 'zeros' \
                and not isinstance(layer.padding, str):
            layer.__class__ = SmallMapConv2d


class _Convolution(torch.autograd.Function):

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None,
                stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(inputs, weight, bias, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_BOHW: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        inputs, weight = ctx.saved_tensors
        inputs_grad = conv2d_input(
            inputs.shape, weight, grad_BOHW, ctx.stride,
            ctx.padding) if ctx.needs_input_grad[0] else None
        rows_NO = grad_BOHW.permute(0, 2, 3, 1).flatten(0, 2)
        weight_grad = bias_grad = None
        if ctx.needs_input_grad[1]:
            patches_NP = _patches(inputs, weight.shape[2:], ctx.stride,
                                  ctx.padding)
            out_channels, in_channels, height, width = weight.shape
            weight_grad = rows_NO.t() @ patches_NP
            if (height, width) == (1, 1):
                # With the strides that gradient buckets of DDP have.
                weight_grad = weight_grad.view(weight.shape)
            else:
                weight_grad = weight_grad.view(out_channels, height, width,
                                               in_channels).permute(
                                                   0, 3, 1, 2)
        if ctx.needs_input_grad[2]:
            bias_grad = rows_NO.sum(0)
        return inputs_grad, weight_grad, bias_grad, None, None


def _patches(inputs_BCHW: Tensor, size: tuple[int, int],
             stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """What each output pixel sees: a row of height, width and channels."""
    (top, left), (height, width) = padding, size
    images_BHWC = F.pad(
        inputs_BCHW.permute(0, 2, 3, 1), (0, 0, left, left, top, top))
    windows = images_BHWC.unfold(1, height,
                                 stride[0]).unfold(2, width, stride[1])
    return windows.permute(0, 1, 2, 4, 5, 3).flatten(3).flatten(0, 2)
