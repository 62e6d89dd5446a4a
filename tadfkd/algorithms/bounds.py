"""What data-free distillation lies between: noise, and real data."""
from typing import Any

import torch
from mmengine.optim import OptimWrapperDict
from torch import Tensor

from tadfkd.algorithms.base import BaseDFKD, Losses, prefixed
from tadfkd.errors import require_at_least
from tadfkd.registry import MODELS
from tadfkd.structures import SyntheticBatch, TeacherOutput


@MODELS.register_module()
class RandomNoiseKD(BaseDFKD):
    """The lower bound: the student sees uniform noise.

    ::

        student:    16 KL(softmax T(x) / 4 || softmax S(x) / 4), x ~ U(0, 1)

    A data-free method that is no better than this one is of no use.

    Args:
        num_student_steps: Student steps per iteration, >= 1.
        max_rounds: See
            :class:`~tadfkd.algorithms.alternating.AlternatingDFKD`.
        **base: See :class:`BaseDFKD`. The generator is a
            :class:`~tadfkd.generators.NoiseGenerator`, and is not trained.
    """

    trained_networks = ('student', )

    def __init__(self,
                 num_student_steps: int = 1,
                 max_rounds: int = 50,
                 **base: Any) -> None:
        super().__init__(**base)
        require_at_least('model', 'num_student_steps', num_student_steps, 1)
        require_at_least('model', 'max_rounds', max_rounds, 1)
        self.candidates.max_rounds = max_rounds
        self.num_student_steps = num_student_steps

    def train_step(self, data: object,
                   optim_wrapper: OptimWrapperDict) -> Losses:
        """See :meth:`BaseDFKD.train_step`."""
        wrapper = optim_wrapper['student']
        for _ in range(self.num_student_steps):
            with self.train_only('student', wrapper):
                batch, logits_BK = self.candidates.selected_batch(
                    self.batch_size)
                losses = self.student_losses(batch.views_BCHW,
                                             TeacherOutput(logits_BK))
            losses = self.update('student', wrapper, (losses, len(batch)))
        return prefixed('student', losses)


@MODELS.register_module()
class VanillaKD(BaseDFKD):
    """The upper bound, which is not data-free: the student sees real images.

    ::

        student:    16 KL(softmax T(x) / 4 || softmax S(x) / 4), x real

    arXiv 1503.02531, without the term of the labels, so that only the images
    differ from the data-free methods. This algorithm alone reads training
    data: an iteration trains on one batch of ``train_dataloader``. Measures
    that need generated images are taken on the newest training images.
    """

    trained_networks = ('student', )

    def __init__(self, **base: Any) -> None:
        super().__init__(**base)
        self._newest_BCHW: Tensor | None = None

    def synthesize(self, size: int, purpose: str = 'held_out') -> Tensor:
        """The newest training images, at most ``size``; noise before there
        are any."""
        if self._newest_BCHW is None:
            return super().synthesize(size, purpose)
        return self._newest_BCHW[:size]

    def train_step(self, data: Any, optim_wrapper: OptimWrapperDict) -> Losses:
        """One student step on real images.

        Args:
            data: A batch of mmpretrain's, with ``inputs``.
            optim_wrapper: With one wrapper, for ``student``.
        """
        images_BCHW = self.data_preprocessor(data, training=True)['inputs']
        wrapper = optim_wrapper['student']
        with self.train_only('student', wrapper):
            batch = self.candidates.augmented(SyntheticBatch(images_BCHW))
            with torch.no_grad():
                target = self.teacher(batch.views_BCHW)
            losses = self.student_losses(batch.views_BCHW, target)
        self._newest_BCHW = batch.views_BCHW
        return prefixed('student',
                        self.update('student', wrapper, (losses, len(batch))))
