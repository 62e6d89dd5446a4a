"""Zero-shot knowledge transfer via adversarial belief matching (2019)."""
from typing import Any

from torch import Tensor

from tadfkd.algorithms.base import Losses
from tadfkd.algorithms.building import build_part
from tadfkd.algorithms.joint import JointDFKD
from tadfkd.algorithms.stage_maps import StageMaps
from tadfkd.losses import AttentionTransferLoss, LogitsLoss
from tadfkd.registry import MODELS
from tadfkd.structures import SyntheticBatch, TeacherOutput


@MODELS.register_module()
class ZSKT(JointDFKD):
    """Adversarial images; the student sees each of them many times.

    ::

        generator:  - KL(softmax T(x) || softmax S(x)) / K
        student:      KL(softmax T(x) || softmax S(x)) / K
                      + 250 sum_l mean (A_l(S) - A_l(T))^2

    where A_l is the attention map that ends resolution l, scaled to length 1,
    and K the number of classes. An iteration is one generator step and ten
    student steps on the images that the updated generator makes from the same
    latents. The teacher answers once for all student steps. arXiv 1905.09768.

    Differs from the released code: the student is in eval mode while the
    generator trains, so a generator step leaves the student unchanged.
    ``configs/zskt/*_released.py`` have it in train mode.

    Args:
        adversarial_loss: Config of the :class:`~tadfkd.losses.LogitsLoss`
            that the generator maximises.
        attention_loss: Config of an
            :class:`~tadfkd.losses.AttentionTransferLoss`. ``loss_weight`` 0
            leaves the term out, for networks without maps of a common size.
        **joint: See :class:`JointDFKD`.
    """

    student_sees_update = True

    def __init__(self, adversarial_loss: dict, attention_loss: dict,
                 **joint: Any) -> None:
        super().__init__(**joint)
        self.adversarial_loss = build_part('adversarial_loss',
                                           adversarial_loss, LogitsLoss)
        self.attention_loss = build_part('attention_loss', attention_loss,
                                         AttentionTransferLoss)
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
