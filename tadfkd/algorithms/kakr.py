"""Learning to retain while acquiring (CVPR 2023)."""
from typing import Any

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor

from tadfkd.algorithms.alternating import AlternatingDFKD
from tadfkd.algorithms.base import Losses, prefixed, summed, with_total
from tadfkd.algorithms.pre_dfkd import PriorAndDivergence, ReplaySource
from tadfkd.distributed.reductions import average_gradients, global_means
from tadfkd.distributed.wrapper import unwrapped
from tadfkd.errors import require_at_least
from tadfkd.registry import MODELS
from tadfkd.structures import SyntheticBatch, TeacherOutput


@MODELS.register_module()
class KAKR(AlternatingDFKD):
    """A step towards new images must not lead away from replayed ones.

    With the student's weights w, new images x and replayed images r::

        student:    L(w; x) + L(w'; r),  w' = w - 0.9 grad L(w; x)

    where ``L = mean |S - T|``. The gradient of the second term at w' stands
    for its gradient at w (first order). The generator is driven as that of
    :class:`~tadfkd.algorithms.pre_dfkd.PREDFKD`. The replay is a buffer of
    images or PRE-DFKD's generative replay. arXiv 2302.14290.

    Args:
        inner_lr: Step size from w to w', > 0.
        replay: See :class:`~tadfkd.algorithms.pre_dfkd.ReplaySource`.
        replay_batch_size: Replayed images per student step, >= 2.
        class_prior: See
            :class:`~tadfkd.algorithms.pre_dfkd.PriorAndDivergence`.
        adversarial_loss: See
            :class:`~tadfkd.algorithms.pre_dfkd.PriorAndDivergence`.
        num_replay_steps: Number of student steps in which a replay with
            weights learns, >= 1.
        **alternating: See :class:`AlternatingDFKD`.
    """

    scalable_losses = False

    def __init__(self,
                 inner_lr: float,
                 replay: dict,
                 replay_batch_size: int,
                 class_prior: dict,
                 adversarial_loss: dict,
                 num_replay_steps: int = 1,
                 **alternating: Any) -> None:
        super().__init__(**alternating)
        require_at_least('model', 'inner_lr', inner_lr, 1e-12)
        self.inner_lr = inner_lr
        self.replayed = ReplaySource(self, replay, replay_batch_size,
                                     num_replay_steps)
        self.generator_terms = PriorAndDivergence(class_prior,
                                                  adversarial_loss)

    def train_step(self, data: object,
                   optim_wrapper: OptimWrapperDict) -> Losses:
        """Student steps, then generator steps. The replay also learns in the
        first student steps."""
        losses: Losses = {}
        for step in range(self.num_student_steps):
            images_BCHW, target, terms = self.retaining_step(
                optim_wrapper['student'])
            losses |= prefixed('student', terms)
            terms = self.replayed.learn(step, images_BCHW, target,
                                        optim_wrapper)
            losses |= prefixed('replay', terms)
        for _ in range(self.num_generator_steps):
            terms = self.generator_step(optim_wrapper['generator'])
        return losses | prefixed('generator', terms)

    def retaining_step(
            self,
            wrapper: OptimWrapper) -> tuple[Tensor, TeacherOutput, Losses]:
        """Step the student along the gradients of both terms.

        Returns:
            The new images, the teacher's answer to them, and the losses.
        """
        with self.train_only('student', wrapper):
            images_BCHW, target = self.student_batch()
            self.replayed.replay.observe(images_BCHW)
            losses = self.student_losses(images_BCHW, target)
        losses = global_means(losses, len(images_BCHW))
        wrapper.backward(summed(losses))
        recalled = self.replayed.batch()
        if recalled is not None:
            losses |= self._add_retained_gradients(*recalled, wrapper)
        wrapper.step()
        wrapper.zero_grad()
        self.counters.steps['student'] += 1
        return images_BCHW, target, with_total(losses, summed(losses))

    def _add_retained_gradients(self, images_BCHW: Tensor,
                                target: TeacherOutput,
                                wrapper: OptimWrapper) -> Losses:
        """Add to the student's gradients those of the loss of replayed images
        at w'; return that loss."""
        weights = dict(unwrapped(self.student).named_parameters())
        ahead = {
            name:
            (weight.detach() - self.inner_lr * weight.grad).requires_grad_()
            for name, weight in weights.items() if weight.grad is not None
        }
        with self.train_only('student', wrapper):
            losses = dict(
                retained=self.student_loss(
                    self.student_logits(images_BCHW, ahead), target.logits_BK))
        losses = global_means(losses, len(images_BCHW))
        gradients = torch.autograd.grad(losses['retained'],
                                        list(ahead.values()))
        average_gradients(gradients)
        for name, gradient in zip(ahead, gradients):
            weight_gradient = weights[name].grad
            assert weight_gradient is not None
            weight_gradient += gradient
        return losses

    def generator_losses(self, selected: SyntheticBatch) -> Losses:
        """See :class:`~tadfkd.algorithms.pre_dfkd.PriorAndDivergence`."""
        return self.generator_terms.losses(self, selected)

    def training_state(self) -> dict:
        """See :meth:`BaseDFKD.training_state`; with the replay's memory."""
        return super().training_state() | dict(
            replay=self.replayed.replay.training_state())

    def load_training_state(self, state: dict) -> None:
        """See :meth:`BaseDFKD.load_training_state`."""
        super().load_training_state(state)
        self.replayed.replay.load_training_state(state['replay'])
