"""The teacher's output for a batch."""
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


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
    """

    logits_BK: Tensor
    features_BF: Tensor | None = None
    bn_statistics: tuple[BNStatistics, ...] | None = None
    maps: tuple[Tensor, ...] | None = None

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
                function(values) for values in self.maps))
