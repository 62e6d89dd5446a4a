"""Upsampling equals the library's, bit by bit."""
import pytest
import torch
from torch import nn

from tadfkd.generators.nearest import NearestUpsample

LIBRARY = nn.Upsample(scale_factor=2)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('order',
                         [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('shape', [(3, 5, 4, 6), (2, 64, 8, 8), (1, 1, 1, 1),
                                   (2, 3, 1, 7)])
def test_values_and_gradients_are_equal(shape: tuple[int, ...],
                                        order: torch.memory_format,
                                        dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    maps_BCHW = torch.randn(shape).to(
        dtype, memory_format=order).requires_grad_()
    expected = LIBRARY(maps_BCHW)
    result = NearestUpsample()(maps_BCHW)
    assert torch.equal(result, expected)
    weights = torch.randn(result.shape).to(dtype, memory_format=order)
    gradient, = torch.autograd.grad(result, maps_BCHW, weights)
    expected_gradient, = torch.autograd.grad(expected, maps_BCHW, weights)
    assert torch.equal(gradient, expected_gradient)


def test_gradients_have_gradients() -> None:
    maps_BCHW = torch.randn(2, 3, 2, 2, dtype=torch.double)
    maps_BCHW.requires_grad_()
    assert torch.autograd.gradgradcheck(NearestUpsample(), maps_BCHW)


def test_a_part_of_a_batch_is_enlarged_alike() -> None:
    maps_BCHW = torch.randn(4, 6, 3, 3)
    for part in (maps_BCHW[1:3], maps_BCHW[:, ::2], maps_BCHW[..., 1:]):
        assert torch.equal(NearestUpsample()(part), LIBRARY(part))
