"""Batch-norm statistics averaged over past batches."""
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.structures import BNStatistics


class AveragedStatistics:
    """Statistics of this batch, averaged with those of earlier batches.

    ::

        mu = m mu_past + (1 - m) mu_batch

    The same holds for the variance. Gradients reach the batch alone. A single
    batch need not have the statistics of the training data, only many batches
    together. arXiv 2112.06253.

    Args:
        momentum: m, in [0, 1); 0 uses the batch alone.
    """

    def __init__(self, momentum: float) -> None:
        if not isinstance(momentum, int | float) or not 0 <= momentum < 1:
            raise UserError(f'bn_momentum must be in [0, 1), got {momentum!r}'
                            ': set model.bn_momentum')
        self.momentum = momentum
        self._past: list[tuple[Tensor, Tensor]] = []
        self._newest: list[tuple[Tensor, Tensor]] = []

    def average(
            self,
            statistics: Sequence[BNStatistics]) -> tuple[BNStatistics, ...]:
        """The averages of a batch with the past, which does not change."""
        m = self.momentum
        if self._past:
            statistics = [
                replace(
                    layer,
                    mean_F=m * mean_F.to(layer.mean_F.device) +
                    (1 - m) * layer.mean_F,
                    variance_F=m * variance_F.to(layer.variance_F.device) +
                    (1 - m) * layer.variance_F)
                for layer, (
                    mean_F,
                    variance_F) in zip(statistics, self._past, strict=True)
            ]
        if m > 0:
            self._newest = [(layer.mean_F.detach(), layer.variance_F.detach())
                            for layer in statistics]
        return tuple(statistics)

    def advance(self) -> None:
        """Make the newest averages the past, if they are finite: later
        averages would not be finite either. Waits for the device."""
        finite = [
            values_F.isfinite().all() for layer in self._newest
            for values_F in layer
        ]
        if not finite or torch.stack(finite).all():
            self._past = self._newest

    def state_dict(self) -> dict:
        """The past as plain tensors."""
        return dict(past=[[mean_F.clone(), variance_F.clone()]
                          for mean_F, variance_F in self._past])

    def load_state_dict(self, state: dict) -> None:
        """Continue from the past of :meth:`state_dict`."""
        self._past = [(mean_F, variance_F)
                      for mean_F, variance_F in state['past']]
