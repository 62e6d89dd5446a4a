"""Data-free adversarial distillation (2019)."""
from typing import Any

from tadfkd.algorithms.base import BaseDFKD, Losses
from tadfkd.algorithms.building import build_logits_loss
from tadfkd.registry import MODELS
from tadfkd.structures import SyntheticBatch


@MODELS.register_module()
class DFAD(BaseDFKD):
    """Images on which student and teacher differ most.

    ::

        generator:  - mean |S(x) - T(x)|
        student:      mean |S(x) - T(x)|

    arXiv 1912.11006; five student steps to one of the generator.

    Args:
        adversarial_loss: Config of the distance that the generator widens.
        **base: Everything else of :class:`BaseDFKD`.
    """

    def __init__(self,
                 adversarial_loss: dict = dict(type='L1Loss'),
                 **base: Any) -> None:
        super().__init__(**base)
        self.adversarial_loss = build_logits_loss(self, 'adversarial_loss',
                                                  adversarial_loss)

    def generator_losses(self, candidates: SyntheticBatch,
                         selected: SyntheticBatch) -> Losses:
        """The negative distance on the selected images."""
        images_BCHW = selected.views_BCHW
        return dict(adversarial=-self.adversarial_loss(
            self.student_logits(images_BCHW),
            self.teacher(images_BCHW).logits_BK))
