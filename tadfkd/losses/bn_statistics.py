"""The distance of generated images from the teacher's training data."""
from collections.abc import Sequence

import torch
from torch import Tensor

from tadfkd.errors import require_at_least
from tadfkd.losses.base_loss import StatisticsLoss
from tadfkd.registry import MODELS
from tadfkd.structures import BNStatistics


@MODELS.register_module()
class BNStatisticsLoss(StatisticsLoss):
    """sum over layers of ||mu - mu_running||_2 + ||var - var_running||_2.

    The terms are norms, not squares, as in arXiv 1912.08795. mu and var are
    the mean and the biased variance of each batch-norm layer's input.

    Example:
        >>> zeros_F, ones_F = torch.zeros(4), torch.ones(4)
        >>> BNStatisticsLoss()([BNStatistics(ones_F, ones_F, zeros_F, ones_F)])
        tensor(2.)
    """

    def forward(self, statistics: Sequence[BNStatistics]) -> Tensor:
        """The distance, >= 0, summed over at least one layer."""
        distances = [
            torch.linalg.vector_norm(layer.mean_F - layer.running_mean_F) +
            torch.linalg.vector_norm(layer.variance_F -
                                     layer.running_variance_F)
            for layer in statistics
        ]
        return self.loss_weight * torch.stack(distances).sum()


@MODELS.register_module()
class StatisticsDivergenceLoss(StatisticsLoss):
    """Mean over layers and channels of a divergence of two Gaussians, in nats.

    With the mean m and the variance v of a channel's input, and the running
    ones m' and v'::

        KL = 1/2 (log(v' / v) - 1 + (v + (m - m')^2) / v')

    Each channel counts in units of its own deviation, so neither the width
    and depth of a teacher nor the scale of its layers changes the weight of
    the term.

    Args:
        floor: Variances below ``floor`` times the layer's mean running
            variance are raised to it, > 0. A dead channel would otherwise
            have an infinite divergence.
        loss_weight: See :class:`~tadfkd.losses.BaseLoss`.

    Example:
        >>> zeros_F, ones_F = torch.zeros(4), torch.ones(4)
        >>> layer = BNStatistics(ones_F, ones_F, zeros_F, ones_F)
        >>> StatisticsDivergenceLoss()([layer])
        tensor(0.5000)
    """

    def __init__(self, floor: float = 1e-3, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        require_at_least('the StatisticsDivergenceLoss', 'floor', floor, 1e-12)
        self.floor = floor

    def forward(self, statistics: Sequence[BNStatistics]) -> Tensor:
        """The divergence, >= 0, of at least one layer."""
        return self.loss_weight * torch.stack(
            [self._divergence(layer) for layer in statistics]).mean()

    def _divergence(self, layer: BNStatistics) -> Tensor:
        least = self.floor * layer.running_variance_F.mean()
        running_F = layer.running_variance_F.maximum(least)
        variance_F = layer.variance_F.maximum(least)
        return gaussian_divergence(layer.mean_F, variance_F,
                                   layer.running_mean_F, running_F)


def gaussian_divergence(mean_F: Tensor, variance_F: Tensor,
                        other_mean_F: Tensor,
                        other_variance_F: Tensor) -> Tensor:
    """Mean over channels of KL(N(mean, variance) || N(the others)), in nats.

    All variances are > 0.
    """
    ratio_F = variance_F / other_variance_F
    shift_F = (mean_F - other_mean_F).square() / other_variance_F
    return (ratio_F - 1 - ratio_F.log() + shift_F).mean() / 2
