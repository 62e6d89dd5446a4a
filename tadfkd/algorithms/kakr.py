"""Learning to retain while acquiring (CVPR 2023)."""
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor

from tadfkd.algorithms.base import Losses, summed, with_total
from tadfkd.algorithms.pre_dfkd import PREDFKD
from tadfkd.distributed.reductions import average_gradients, global_means
from tadfkd.distributed.wrapper import unwrapped
from tadfkd.errors import require_at_least
from tadfkd.registry import MODELS
from tadfkd.structures import TeacherOutput


@MODELS.register_module()
class KAKR(PREDFKD):
    """A step towards new images must not lead away from replayed ones.

    With the student's weights w, new images x and replayed images r::

        student:    L(w; x) + L(w'; r),  w' = w - 0.9 grad L(w; x)

    where ``L = mean |S - T|``. The gradient of the second term at w' stands
    for its gradient at w (first order). All else is as in
    :class:`~tadfkd.algorithms.pre_dfkd.PREDFKD`. The replay is a buffer of
    images or PRE-DFKD's generative replay. arXiv 2302.14290.

    In the released code w' belongs to a copy of the student, so that no
    gradient of L(w'; r) reaches the student. What trains it is L(w; x and r),
    one mean over new and replayed images. On the tensors of
    ``kakr.student.replay`` in ``tests/test_parity`` that gradient has norm
    1.04, and the one of the equation above has norm 1.92; the cosine of the
    two is 0.92. ``inner_lr=None`` is the released form. Divergence and mode of
    the student are as in PRE-DFKD; ``configs/kakr/*_released.py`` have the
    released forms.

    Args:
        inner_lr: Step size from w to w', > 0; None leaves w' out and trains
            the student as PRE-DFKD does.
        **pre_dfkd: See :class:`~tadfkd.algorithms.pre_dfkd.PREDFKD`.
    """

    scalable_losses = False

    def __init__(self, inner_lr: float | None, **pre_dfkd: Any) -> None:
        super().__init__(**pre_dfkd)
        if inner_lr is not None:
            require_at_least('model', 'inner_lr', inner_lr, 1e-12)
        self.inner_lr = inner_lr

    def reminded_step(
            self,
            wrapper: OptimWrapper) -> tuple[Tensor, TeacherOutput, Losses]:
        """Step the student along the gradients of both terms.

        Returns:
            The new images, the teacher's answer to them, and the losses.
        """
        if self.inner_lr is None:
            return super().reminded_step(wrapper)
        with self.train_only('student', wrapper):
            images_BCHW, target = self.student_batch()
            losses = self.student_losses(images_BCHW, target)
        losses = global_means(losses, len(images_BCHW))
        wrapper.backward(summed(losses))
        recalled = self.recalled()
        if recalled is not None:
            losses |= self._add_retained_gradients(*recalled, self.inner_lr,
                                                   wrapper)
        wrapper.step()
        wrapper.zero_grad()
        self.counters.steps['student'] += 1
        self.after_student_step()
        return images_BCHW, target, with_total(losses, summed(losses))

    def _add_retained_gradients(self, images_BCHW: Tensor,
                                target: TeacherOutput, inner_lr: float,
                                wrapper: OptimWrapper) -> Losses:
        """Add to the student's gradients those of the loss of replayed images
        at w'; return that loss."""
        weights = dict(unwrapped(self.student).named_parameters())
        ahead = {
            name: (weight.detach() - inner_lr * weight.grad).requires_grad_()
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
