"""Zero-shot knowledge transfer via adversarial belief matching (2019)."""
from typing import Any

import torch
from torch import Tensor

from tadfkd.algorithms.base import Losses
from tadfkd.algorithms.building import build_logits_loss, build_loss
from tadfkd.algorithms.joint import JointDFKD
from tadfkd.algorithms.stage_maps import StageMaps
from tadfkd.registry import MODELS
from tadfkd.structures import SyntheticBatch, TeacherOutput


@MODELS.register_module()
class ZSKT(JointDFKD):
    """Adversarial images, each of which the student sees many times.

    ::

        generator:  - KL(softmax T(x) || softmax S(x))
        student:      KL(softmax T(x) || softmax S(x))
                      + 250 sum_l mean (A_l(S) - A_l(T))^2

    where A_l is the attention map that ends resolution l, scaled to length 1.
    An iteration is one generator step and ten student steps on the very same
    images, for which the teacher is asked once. arXiv 1905.09768.

    Args:
        adversarial_loss: Config of the divergence that the generator widens.
        attention_loss: Config of the attention term; with ``loss_weight`` 0
            it is left out, for networks without maps of a size in common.
        student_loss: See :class:`BaseDFKD`.
        num_student_steps: Student steps on each batch, >= 1.
        **base: Everything else of :class:`BaseDFKD`.
    """

    def __init__(self,
                 adversarial_loss: dict = dict(type='KLLoss'),
                 attention_loss: dict = dict(
                     type='AttentionTransferLoss', loss_weight=250.0),
                 student_loss: dict = dict(type='KLLoss'),
                 num_student_steps: int = 10,
                 **base: Any) -> None:
        super().__init__(
            student_loss=student_loss,
            num_student_steps=num_student_steps,
            **base)
        self.adversarial_loss = build_logits_loss(self, 'adversarial_loss',
                                                  adversarial_loss)
        maps = [torch.zeros(2, 1, 4, 4)]
        self.attention_loss = build_loss('attention_loss', attention_loss,
                                         maps, maps)
        self.stage_maps = StageMaps.of(self, 'model.attention_loss') \
            if self.attention_loss.loss_weight > 0 else StageMaps()

    def teacher_options(self) -> dict[str, Any]:
        """The maps, which are the student's targets."""
        return dict(maps_at=self.stage_maps.teacher)

    def joint_losses(self, selected: SyntheticBatch,
                     output: TeacherOutput) -> Losses:
        """The negative divergence."""
        return dict(adversarial=-self.adversarial_loss(
            self.student_logits(selected.views_BCHW), output.logits_BK))

    def student_losses(self, images_BCHW: Tensor,
                       target: TeacherOutput) -> Losses:
        """Divergence and attention transfer."""
        logits_BK, maps = self.stage_maps.of_student(self, images_BCHW)
        losses = dict(logits=self.student_loss(logits_BK, target.logits_BK))
        if target.maps:
            losses['attention'] = self.attention_loss(maps, target.maps)
        return losses
