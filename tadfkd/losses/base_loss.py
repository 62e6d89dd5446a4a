"""What all losses share, and the four kinds that a config can choose among.

A kind says what a loss is called with. An algorithm asks for a kind, so any
loss of the kind fits.
"""
from torch import nn

from tadfkd.errors import require_at_least


class BaseLoss(nn.Module):
    """A pure function of tensors to a scalar, with a weight.

    Args:
        loss_weight: Factor of the result, >= 0. The algorithm writes an
            adversarial minus sign; the weight never carries it.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        require_at_least(f'the {type(self).__name__}', 'loss_weight',
                         loss_weight, 0.0)
        self.loss_weight = loss_weight


class LogitsLoss(BaseLoss):
    """A distance of two classifiers: (student_BK, teacher_BK) -> scalar."""


class LabelLoss(BaseLoss):
    """A loss on the teacher's classes: (logits_BK, labels_B) -> scalar.

    ``labels_B`` is None where the generator was given no labels.
    """


class ImageLoss(BaseLoss):
    """A loss on images alone: images_BCHW -> scalar."""


class StatisticsLoss(BaseLoss):
    """A loss on a sequence of :class:`~tadfkd.structures.BNStatistics`, one
    per batch-norm layer of the teacher -> scalar."""
