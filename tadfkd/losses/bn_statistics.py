"""The distance of generated images from the teacher's training data."""
from collections.abc import Sequence

import torch
from torch import Tensor

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
