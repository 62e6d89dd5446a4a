"""The batch-norm statistics loss against NumPy in float64."""
import numpy as np
import pytest
import torch

from tadfkd.losses import BNStatisticsLoss
from tadfkd.structures import BNStatistics


def test_it_sums_norms_and_not_squares_over_layers() -> None:
    layers = [
        BNStatistics(*torch.randn(4, channels).abs()) for channels in (3, 16)
    ]
    expected = 0.0
    for layer in layers:
        mean, variance, running_mean, running_variance = (
            values.double().numpy() for values in vars(layer).values())
        expected += np.linalg.norm(mean - running_mean) + np.linalg.norm(
            variance - running_variance)
    assert BNStatisticsLoss(loss_weight=10)(layers).item() == pytest.approx(
        10 * expected, rel=1e-6)


def test_perfect_statistics_have_no_loss_and_a_finite_gradient() -> None:
    # The slope of a norm is not defined at 0: it must not become NaN.
    mean_F = torch.ones(4, requires_grad=True)
    variance_F = torch.full((4, ), 2.0, requires_grad=True)
    value = BNStatisticsLoss()([
        BNStatistics(mean_F, variance_F, mean_F.detach(), variance_F.detach())
    ])
    value.backward()
    assert value == 0
    for leaf_F in (mean_F, variance_F):
        assert leaf_F.grad is not None and leaf_F.grad.isfinite().all()
