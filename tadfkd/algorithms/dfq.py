"""Data-free network quantization with adversarial distillation (2020)."""
from typing import Any

from tadfkd.algorithms.base import BaseDFKD, Losses
from tadfkd.algorithms.building import build_class_prior, build_logits_loss
from tadfkd.registry import MODELS
from tadfkd.structures import SyntheticBatch


@MODELS.register_module()
class DFQ(BaseDFKD):
    """Adversarial images that look like the training data to the teacher.

    ::

        generator:  - KL(softmax T(x) || softmax S(x)) + BN(x)
                    + CE(T(x), argmax T(x)) + 20 sum_k pbar_k log pbar_k
        student:      KL(softmax T(x) || softmax S(x))

    arXiv 2005.04136, as a method of distillation; ten student steps to one of
    the generator. Images of a class-conditional generator have CE(T(x), y).

    Args:
        adversarial_loss: Config of the divergence that the generator widens.
        bn_loss: See :class:`BaseDFKD`.
        class_prior: Config of a :class:`~tadfkd.losses.ClassPrior`.
        student_loss: See :class:`BaseDFKD`.
        **base: Everything else of :class:`BaseDFKD`.
    """

    def __init__(self,
                 adversarial_loss: dict = dict(type='KLLoss'),
                 bn_loss: dict = dict(type='BNStatisticsLoss'),
                 class_prior: dict = dict(
                     type='ClassPrior',
                     one_hot=1.0,
                     balance=20.0,
                     activation=0.0,
                     log_base='e'),
                 student_loss: dict = dict(type='KLLoss'),
                 **base: Any) -> None:
        super().__init__(student_loss=student_loss, bn_loss=bn_loss, **base)
        self.adversarial_loss = build_logits_loss(self, 'adversarial_loss',
                                                  adversarial_loss)
        self.class_prior = build_class_prior(self, class_prior)

    def generator_losses(self, candidates: SyntheticBatch,
                         selected: SyntheticBatch) -> Losses:
        """All terms on the selected images."""
        images_BCHW = selected.views_BCHW
        output = self.teacher(
            images_BCHW,
            with_bn=self.bn_loss is not None,
            with_features=self.class_prior.reads_features)
        divergence = self.adversarial_loss(
            self.student_logits(images_BCHW), output.logits_BK)
        return dict(
            adversarial=-divergence,
            **self.bn_terms(output.bn_statistics, len(selected)),
            **self.class_prior(output, selected.labels_B))
