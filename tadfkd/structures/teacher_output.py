"""What the teacher says of a batch."""
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
    """The teacher's answer to a batch of images.

    Attributes:
        logits_BK: Float, one row a sample.
        features_BF: Input of the last linear layer, if asked for.
        bn_statistics: One entry a batch-norm layer in the order of the
            forward, if asked for; empty for a network without batch norm.
    """

    logits_BK: Tensor
    features_BF: Tensor | None = None
    bn_statistics: tuple[BNStatistics, ...] | None = None
