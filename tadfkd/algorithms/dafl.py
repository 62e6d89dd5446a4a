"""Data-free learning of student networks (ICCV 2019)."""
from typing import Any

from tadfkd.algorithms.base import Losses
from tadfkd.algorithms.building import build_part
from tadfkd.algorithms.joint import JointDFKD
from tadfkd.losses import ClassPrior
from tadfkd.registry import MODELS
from tadfkd.structures import SyntheticBatch, TeacherOutput


@MODELS.register_module()
class DAFL(JointDFKD):
    """Images whose class the teacher is sure of, evenly over the classes.

    With generated images x, teacher T and its penultimate features f_T::

        generator:  0.05 CE(T(x), argmax T(x)) + 5 sum_k pbar_k log10 pbar_k
                    - 0.01 mean |f_T(x)|
        student:    KL(softmax T(x) || softmax S(x))

    with the weights of CIFAR-10; 0.5, 20 and 0.1 for CIFAR-100. The student
    does not influence the generator. Both learn from the same images in one
    joint step. The paper's one backward pass through the sum of all terms
    gives each network the gradient that it has here. arXiv 1904.01186.

    Args:
        class_prior: Config of a :class:`~tadfkd.losses.ClassPrior`.
        **joint: See :class:`JointDFKD`.
    """

    def __init__(self, class_prior: dict, **joint: Any) -> None:
        super().__init__(**joint)
        self.class_prior = build_part('class_prior', class_prior, ClassPrior)

    def teacher_options(self) -> dict[str, Any]:
        """The features, if they have a weight."""
        return dict(with_features=self.class_prior.reads_features)

    def joint_losses(self, selected: SyntheticBatch,
                     output: TeacherOutput) -> Losses:
        """The class prior."""
        return self.class_prior(output, selected.labels_B)
