"""The losses on batch-norm statistics against NumPy in float64."""
import numpy as np
import pytest
import torch

from tadfkd.losses import BNStatisticsLoss, StatisticsDivergenceLoss
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


def test_the_divergence_is_the_mean_over_channels_and_layers() -> None:
    layers = [
        BNStatistics(*(torch.randn(4, channels).abs() + 0.1))
        for channels in (3, 16)
    ]
    expected = []
    for layer in layers:
        mean, variance, running_mean, running_variance = (
            values.double().numpy() for values in vars(layer).values())
        kl = 0.5 * (
            np.log(running_variance / variance) - 1 +
            (variance + (mean - running_mean)**2) / running_variance)
        expected.append(kl.mean())
    loss = StatisticsDivergenceLoss(loss_weight=2)(layers)
    assert loss.item() == pytest.approx(2 * np.mean(expected), rel=1e-5)


def test_the_divergence_knows_no_scale_and_no_width() -> None:
    layer = BNStatistics(*(torch.randn(4, 6).abs() + 0.1))
    scaled = BNStatistics(7 * layer.mean_F, 49 * layer.variance_F,
                          7 * layer.running_mean_F,
                          49 * layer.running_variance_F)
    wide = BNStatistics(*(values.repeat(5) for values in vars(layer).values()))
    loss = StatisticsDivergenceLoss()
    for other in ([scaled], [wide], [layer, layer]):
        torch.testing.assert_close(loss(other), loss([layer]))


def test_a_dead_channel_has_a_finite_divergence() -> None:
    mean_F = torch.zeros(2, requires_grad=True)
    variance_F = torch.tensor([1.0, 0.0], requires_grad=True)
    dead = BNStatistics(mean_F, variance_F, torch.zeros(2),
                        torch.tensor([1.0, 0.0]))
    loss = StatisticsDivergenceLoss()([dead])
    loss.backward()
    assert loss == 0
    for leaf_F in (mean_F, variance_F):
        assert leaf_F.grad is not None and leaf_F.grad.isfinite().all()
