"""What data-free distillation lies between: real data, and noise."""
from typing import Any

import torch
from mmengine.optim import OptimWrapperDict
from torch import Tensor

from tadfkd.algorithms.base import BaseDFKD, Losses, prefixed
from tadfkd.registry import MODELS
from tadfkd.structures import SyntheticBatch


@MODELS.register_module()
class RandomNoiseKD(BaseDFKD):
    """The lower bound: the student sees uniform noise.

    ::

        student:    16 KL(softmax T(x) / 4 || softmax S(x) / 4), x ~ U(0, 1)

    What a data-free method does not do better than this, it does not do.

    Args:
        student_loss: See :class:`BaseDFKD`.
        **base: Everything else of :class:`BaseDFKD`; the generator is a
            :class:`~tadfkd.generators.NoiseGenerator`, and is not trained.
    """

    trained_networks = ('student', )

    def __init__(self,
                 student_loss: dict = dict(type='KLLoss', temperature=4.0),
                 **base: Any) -> None:
        super().__init__(
            student_loss=student_loss, num_generator_steps=0, **base)

    def generator_losses(self, candidates: SyntheticBatch,
                         selected: SyntheticBatch) -> Losses:
        """None: noise is not trained."""
        return {}


@MODELS.register_module()
class VanillaKD(RandomNoiseKD):
    """The upper bound, which is not data-free: the student sees real images.

    ::

        student:    16 KL(softmax T(x) / 4 || softmax S(x) / 4), x real

    arXiv 1503.02531, without the term of the labels, so that only the images
    differ from the data-free methods. It alone reads training data: an
    iteration trains on one batch of ``train_dataloader``. What others have
    measured on generated images is measured on the newest of these.
    """

    def __init__(self, **base: Any) -> None:
        super().__init__(**base)
        self._newest_BCHW: Tensor | None = None

    @torch.no_grad()
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
        with wrapper.optim_context(self.student):
            batch = self.augmented(SyntheticBatch(images_BCHW))
            with torch.no_grad():
                target = self.teacher(batch.views_BCHW)
        self._newest_BCHW = batch.views_BCHW
        losses = self.student_update(batch.views_BCHW, target, wrapper)
        return prefixed('student', losses)
