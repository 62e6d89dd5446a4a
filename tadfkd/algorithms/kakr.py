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

    where ``L = mean |S - T|``; of the second term the gradient at w' is taken
    for the one at w (first order). The generator is that of :class:`PREDFKD`,
    and so is the generative replay; the other is a buffer of images.
    arXiv 2302.14290.

    Args:
        inner_lr: Of the step from w to w', > 0.
        **pre_dfkd: Everything else of :class:`PREDFKD`.
    """

    scalable_losses = False

    def __init__(self, inner_lr: float = 0.9, **pre_dfkd: Any) -> None:
        super().__init__(**pre_dfkd)
        require_at_least('model', 'inner_lr', inner_lr, 1e-12)
        self.inner_lr = inner_lr

    def student_batch(self) -> tuple[Tensor, TeacherOutput]:
        """New images alone."""
        return self.new_batch()

    def student_update(self, images_BCHW: Tensor, target: TeacherOutput,
                       optim_wrapper: OptimWrapper) -> Losses:
        """Step along the gradients of both terms."""
        weights = dict(unwrapped(self.student).named_parameters())
        with optim_wrapper.optim_context(self.student):
            losses = global_means(
                self.student_losses(images_BCHW, target), len(images_BCHW))
        optim_wrapper.backward(summed(losses))
        recalled = self.recalled_batch()
        if recalled is not None:
            losses |= self._retain(weights, *recalled, optim_wrapper)
        optim_wrapper.step()
        optim_wrapper.zero_grad()
        self.counters.student_steps += 1
        return with_total(losses, summed(losses))

    def _retain(self, weights: dict[str, Tensor], images_BCHW: Tensor,
                target: TeacherOutput, optim_wrapper: OptimWrapper) -> Losses:
        """Add to the gradients of ``weights`` those of the loss of replayed
        images after a step along them; return that loss."""
        ahead = {
            name:
            (weight.detach() - self.inner_lr * weight.grad).requires_grad_()
            for name, weight in weights.items() if weight.grad is not None
        }
        with optim_wrapper.optim_context(self.student):
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
