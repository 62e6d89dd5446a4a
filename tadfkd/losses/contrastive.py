"""A loss that tells images apart."""
import torch
from torch import Tensor
from torch.nn import functional

from tadfkd.errors import require_at_least
from tadfkd.losses.base_loss import BaseLoss
from tadfkd.registry import MODELS
from tadfkd.utils.precision import at_least_float32


@MODELS.register_module()
class InfoNCELoss(BaseLoss):
    """Recognising the other view of an image among all other images, in nats.

    ::

        mean_i -log( exp(q_i k_i / t) / sum_j exp(q_i k_j / t) )

    over queries q and keys k of length 1. Keys beyond the number of queries
    are negatives only. arXiv 1807.03748.

    Args:
        temperature: t, > 0.
        loss_weight: See :class:`BaseLoss`.

    Example:
        >>> views_BF = torch.eye(3)
        >>> InfoNCELoss()(views_BF, views_BF)
        tensor(0.5514)
    """

    def __init__(self,
                 temperature: float = 1.0,
                 loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        require_at_least('the InfoNCELoss', 'temperature', temperature, 1e-3)
        self.temperature = temperature

    def forward(self, queries_BF: Tensor, keys_NF: Tensor) -> Tensor:
        """The mean over queries.

        Args:
            queries_BF: Embeddings of one view, of any length.
            keys_NF: Embeddings of the other view in the same order, then
                N - B further negatives.
        """
        queries_BF = functional.normalize(at_least_float32(queries_BF), dim=1)
        keys_NF = functional.normalize(at_least_float32(keys_NF), dim=1)
        similarity_BN = queries_BF @ keys_NF.T / self.temperature
        positives_B = torch.arange(len(queries_BF), device=keys_NF.device)
        return self.loss_weight * functional.cross_entropy(
            similarity_BN, positives_B)
