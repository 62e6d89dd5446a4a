"""A batch of generated images."""
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class SyntheticBatch:
    """Generated images with their labels, views and teacher logits.

    Attributes:
        images_BCHW: Float in [0, 1], RGB or one channel, as generated.
        labels_B: Long class ids for a class-conditional generator.
        augmented_BCHW: The augmented view of ``images_BCHW``; None where
            there is no augmentation.
        teacher_logits_BK: The teacher's logits for the judged view, detached;
            None where they are not known yet.
    """

    images_BCHW: Tensor
    labels_B: Tensor | None = None
    augmented_BCHW: Tensor | None = None
    teacher_logits_BK: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images_BCHW)

    @property
    def views_BCHW(self) -> Tensor:
        """The images that enter the losses: the augmented view, if any."""
        if self.augmented_BCHW is None:
            return self.images_BCHW
        return self.augmented_BCHW

    def take(self, indices_M: Tensor) -> 'SyntheticBatch':
        """The samples at ``indices_M``, with their graph."""
        return self._map(lambda values: values[indices_M])

    def split(self, size: int) -> tuple['SyntheticBatch', 'SyntheticBatch']:
        """The first ``size`` samples, and the rest."""
        return (self._map(lambda values: values[:size]),
                self._map(lambda values: values[size:]))

    def detach(self) -> 'SyntheticBatch':
        """The same values without their graph."""
        return self._map(Tensor.detach)

    def extend(self, other: 'SyntheticBatch') -> 'SyntheticBatch':
        """These samples, then the samples of ``other``.

        The same fields must be None in both batches.
        """
        joined: dict[str, Any] = {}
        for field in fields(self):
            mine = getattr(self, field.name)
            theirs = getattr(other, field.name)
            assert (mine is None) == (theirs is None), field.name
            joined[field.name] = None if mine is None else torch.cat(
                (mine, theirs))
        return SyntheticBatch(**joined)

    def _map(self, function: Callable[[Tensor], Tensor]) -> 'SyntheticBatch':
        changed: dict[str, Any] = {
            name: None if value is None else function(value)
            for name, value in vars(self).items()
        }
        return SyntheticBatch(**changed)
