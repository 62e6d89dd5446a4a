"""Data-free adversarial distillation (2019)."""
from typing import Any

from tadfkd.algorithms.alternating import AlternatingDFKD
from tadfkd.algorithms.base import Losses
from tadfkd.algorithms.building import build_part
from tadfkd.losses import LogitsLoss
from tadfkd.registry import MODELS
from tadfkd.structures import SyntheticBatch


@MODELS.register_module()
class DFAD(AlternatingDFKD):
    """Images on which student and teacher differ most.

    ::

        generator:  - mean |S(x) - T(x)|
        student:      mean |S(x) - T(x)|

    arXiv 1912.11006, with five student steps per generator step.

    Args:
        adversarial_loss: Config of the :class:`~tadfkd.losses.LogitsLoss`
            that the generator maximises.
        **alternating: See :class:`AlternatingDFKD`.
    """

    def __init__(self, adversarial_loss: dict, **alternating: Any) -> None:
        super().__init__(**alternating)
        self.adversarial_loss = build_part('adversarial_loss',
                                           adversarial_loss, LogitsLoss)

    def generator_losses(self, selected: SyntheticBatch) -> Losses:
        """The negative distance on the selected images."""
        images_BCHW = selected.views_BCHW
        return dict(adversarial=-self.adversarial_loss(
            self.student_logits(images_BCHW),
            self.teacher(images_BCHW).logits_BK))
