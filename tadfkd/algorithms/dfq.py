"""Data-free network quantization with adversarial distillation (2020)."""
from typing import Any

from tadfkd.algorithms.alternating import AlternatingDFKD
from tadfkd.algorithms.base import Losses
from tadfkd.algorithms.building import build_bn_loss, build_part
from tadfkd.distributed.reductions import global_statistics
from tadfkd.losses import ClassPrior, LogitsLoss
from tadfkd.registry import MODELS
from tadfkd.structures import SyntheticBatch


@MODELS.register_module()
class DFQ(AlternatingDFKD):
    """Adversarial images that look like the training data to the teacher.

    ::

        generator:  - KL(softmax T(x) || softmax S(x)) + BN(x)
                    + CE(T(x), argmax T(x)) + 20 sum_k pbar_k log pbar_k
        student:      KL(softmax T(x) || softmax S(x))

    arXiv 2005.04136, as a method of distillation, with ten student steps per
    generator step. Images of a class-conditional generator have CE(T(x), y).

    The authors released no code. The configs have the norms of
    :class:`~tadfkd.losses.BNStatisticsLoss` as BN(x), as public
    re-implementations do. The paper's own term is probably a KL divergence of
    two Gaussians, which has not been checked against its text. Some
    re-implementations give the generator the teacher as its student, so the
    first term is identically 0.

    Args:
        adversarial_loss: Config of the :class:`~tadfkd.losses.LogitsLoss`
            that the generator maximises.
        bn_loss: Config of a :class:`~tadfkd.losses.StatisticsLoss`, or None.
        class_prior: Config of a :class:`~tadfkd.losses.ClassPrior`.
        **alternating: See :class:`AlternatingDFKD`.
    """

    def __init__(self, adversarial_loss: dict, bn_loss: dict | None,
                 class_prior: dict, **alternating: Any) -> None:
        super().__init__(**alternating)
        self.adversarial_loss = build_part('adversarial_loss',
                                           adversarial_loss, LogitsLoss)
        self.bn_loss = build_bn_loss(bn_loss, self.teacher, self.generator)
        self.class_prior = build_part('class_prior', class_prior, ClassPrior)

    def generator_losses(self, selected: SyntheticBatch) -> Losses:
        """All terms on the selected images."""
        images_BCHW = selected.views_BCHW
        output = self.teacher(
            images_BCHW,
            with_bn=self.bn_loss is not None,
            with_features=self.class_prior.reads_features)
        losses = dict(adversarial=-self.adversarial_loss(
            self.student_logits(images_BCHW), output.logits_BK))
        if self.bn_loss is not None:
            losses['bn'] = self.bn_loss(
                global_statistics(output.bn_statistics, len(selected)))
        return losses | self.class_prior(output, selected.labels_B)
