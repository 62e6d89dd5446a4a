"""The batch-norm statistics loss against NumPy in float64."""
import math

import pytest
import torch

from tadfkd.losses import BNStatisticsLoss
from tadfkd.structures import BNStatistics


def layer(channels: int, seed: int) -> BNStatistics:
    stream = torch.Generator().manual_seed(seed)
    return BNStatistics(*torch.randn(4, channels, generator=stream).abs())


def distance(one_F: torch.Tensor, other_F: torch.Tensor) -> float:
    return math.sqrt(
        sum((a - b)**2 for a, b in zip(one_F.tolist(), other_F.tolist())))


def test_it_sums_norms_and_not_squares_over_layers() -> None:
    layers = [layer(3, 1), layer(16, 2), layer(1, 3)]
    expected = sum(
        distance(x.mean_F, x.running_mean_F) +
        distance(x.variance_F, x.running_variance_F) for x in layers)
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


def test_the_gradient_points_away_from_the_running_statistics() -> None:
    mean_F = torch.tensor([3.0, 4.0], requires_grad=True)
    variance_F = torch.tensor([1.0, 1.0], requires_grad=True)
    BNStatisticsLoss()([
        BNStatistics(mean_F, variance_F, torch.zeros(2),
                     torch.tensor([1.0, 3.0]))
    ]).backward()
    # The unit vector of each difference.
    torch.testing.assert_close(mean_F.grad, torch.tensor([0.6, 0.8]))
    torch.testing.assert_close(variance_F.grad, torch.tensor([0.0, -1.0]))
