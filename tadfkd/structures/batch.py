"""A batch of generated images, and the teacher's output for it."""
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


@dataclass(frozen=True)
class BNStatistics:
    """Statistics of one batch-norm layer in one forward.

    Attributes:
        mean_F: Mean of the layer's input over all dimensions but the
            channels, float32, with its graph.
        variance_F: Biased variance over the same dimensions.
        running_mean_F: The layer's stored mean.
        running_variance_F: The layer's stored variance.
    """

    mean_F: Tensor
    variance_F: Tensor
    running_mean_F: Tensor
    running_variance_F: Tensor


@dataclass(frozen=True)
class TeacherOutput:
    """The teacher's output for a batch of images.

    Attributes:
        logits_BK: Float, one row per sample.
        features_BF: Input of the last linear layer, if requested.
        bn_statistics: One entry per batch-norm layer in the order of the
            forward, if requested; empty for a network without batch norm.
        maps: Feature maps of a convolutional network, if requested, from
            high to low resolution, (B, C, H, W) each.
        map_gradients: For each map, the gradient of the logit of a sample's
            class with respect to it; None where nobody computed it.
    """

    logits_BK: Tensor
    features_BF: Tensor | None = None
    bn_statistics: tuple[BNStatistics, ...] | None = None
    maps: tuple[Tensor, ...] | None = None
    map_gradients: tuple[Tensor, ...] | None = None

    def take(self, indices_M: Tensor) -> 'TeacherOutput':
        """The output for the samples at ``indices_M``, with its graph.

        ``bn_statistics`` is left out, because it describes the whole batch.
        """
        return self._map(lambda values: values[indices_M])

    def detach(self) -> 'TeacherOutput':
        """The same output without its graph and without ``bn_statistics``."""
        return self._map(Tensor.detach)

    def _map(self, function: Callable[[Tensor], Tensor]) -> 'TeacherOutput':
        return TeacherOutput(
            logits_BK=function(self.logits_BK),
            features_BF=None
            if self.features_BF is None else function(self.features_BF),
            maps=None if self.maps is None else tuple(
                map(function, self.maps)),
            map_gradients=None if self.map_gradients is None else tuple(
                map(function, self.map_gradients)))
