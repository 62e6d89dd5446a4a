"""Against numpy and against the gradient of plain operations."""
import numpy as np
import pytest
import torch
from torch import Tensor

from tadfkd.networks.channel_statistics import channel_statistics

SHAPES = {(6, 3), (1, 3, 4, 4), (5, 3, 2), (2, 3, 2, 3, 4), (1, 3)}
#: By precision, the largest error of a value and of a gradient.
ERRORS = {
    torch.float64: (1e-12, 1e-12),
    torch.float32: (1e-5, 1e-5),
    torch.bfloat16: (1e-5, 8e-3),
    torch.float16: (1e-5, 1e-3)
}


def plain(inputs: Tensor) -> tuple[Tensor, Tensor]:
    rows_NF = inputs.movedim(1, -1).flatten(0, -2)
    mean_F = rows_NF.mean(0)
    return mean_F, (rows_NF - mean_F).square().mean(0)


@pytest.mark.parametrize('shape', sorted(SHAPES))
@pytest.mark.parametrize('dtype', ERRORS)
def test_values_and_gradients(shape: tuple[int, ...],
                              dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    inputs = (1.5 * torch.randn(shape, dtype=torch.float64) + 2).to(dtype)
    weights = torch.randn(2, 3, dtype=torch.float64)
    values, gradients = [], []
    for function, x in ((channel_statistics, inputs.clone()),
                        (plain, inputs.double())):
        found = torch.stack(function(x.requires_grad_()))
        (found * weights.to(found.dtype)).sum().backward()
        values.append(found.detach().double().numpy())
        assert x.grad is not None
        gradients.append(x.grad.double().numpy())
    of_value, of_gradient = ERRORS[dtype]
    np.testing.assert_allclose(*values, atol=of_value, rtol=of_value)
    np.testing.assert_allclose(*gradients, atol=of_gradient, rtol=of_gradient)


def test_large_means_do_not_hide_the_variance() -> None:
    images = 1000 + torch.randn(64, 3, 32, 32)
    images = images.to(memory_format=torch.channels_last)
    _, variance_F = channel_statistics(images)
    np.testing.assert_allclose(
        variance_F, images.double().numpy().var((0, 2, 3)), rtol=1e-3)


def test_results_are_in_float32_for_inputs_in_half_precision() -> None:
    for found in channel_statistics(torch.ones(4, 2, 3, 3).bfloat16()):
        assert found.dtype == torch.float32


def test_statistics_of_no_image_are_no_numbers() -> None:
    for found in channel_statistics(torch.zeros(0, 3, 2, 2)):
        assert found.isnan().all()
