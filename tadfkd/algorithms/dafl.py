"""Data-free learning of student networks (ICCV 2019)."""
from typing import Any

from tadfkd.algorithms.base import Losses
from tadfkd.algorithms.building import build_class_prior
from tadfkd.algorithms.joint import JointDFKD
from tadfkd.registry import MODELS
from tadfkd.structures import SyntheticBatch, TeacherOutput


@MODELS.register_module()
class DAFL(JointDFKD):
    """Images whose class the teacher is sure of, evenly over the classes.

    With generated images x, teacher T and its penultimate features f_T::

        generator:  0.05 CE(T(x), argmax T(x)) + 5 sum_k pbar_k log10 pbar_k
                    - 0.01 mean |f_T(x)|
        student:    KL(softmax T(x) || softmax S(x))

    (the weights of CIFAR-10; 0.5, 20 and 0.1 for CIFAR-100). The student has
    no say in what is generated. Both learn from the same images in one joint
    step; the paper's one backward pass through the sum of all terms gives
    each network the gradient that it has here. arXiv 1904.01186.

    Args:
        class_prior: Config of a :class:`~tadfkd.losses.ClassPrior`.
        student_loss: See :class:`BaseDFKD`.
        **base: Everything else of :class:`BaseDFKD`.
    """

    def __init__(self,
                 class_prior: dict = dict(
                     type='ClassPrior',
                     one_hot=0.05,
                     balance=5.0,
                     activation=0.01),
                 student_loss: dict = dict(type='KLLoss'),
                 **base: Any) -> None:
        super().__init__(student_loss=student_loss, **base)
        self.class_prior = build_class_prior(self, class_prior)

    def teacher_options(self) -> dict[str, Any]:
        """The features, if they have a weight."""
        return dict(with_features=self.class_prior.reads_features)

    def joint_losses(self, selected: SyntheticBatch,
                     output: TeacherOutput) -> Losses:
        """The class prior."""
        return self.class_prior(output, selected.labels_B)
