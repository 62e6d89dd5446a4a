"""Distances between the student's and the teacher's logits."""
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from tadfkd.errors import UserError, require_at_least
from tadfkd.losses.base_loss import LogitsLoss
from tadfkd.registry import MODELS


@MODELS.register_module()
class L1Loss(LogitsLoss):
    """Mean absolute difference of logits, ``mean |S(x) - T(x)|``, >= 0."""

    def forward(self, student_BK: Tensor, teacher_BK: Tensor) -> Tensor:
        """Mean over samples and classes of (B, K) logits."""
        return self.loss_weight * functional.l1_loss(student_BK.float(),
                                                     teacher_BK.float())


@MODELS.register_module()
class KLLoss(LogitsLoss):
    """t^2 KL(softmax(T / t) || softmax(S / t)), mean over samples, in nats.

    Args:
        temperature: t, > 0.
        loss_weight: See :class:`BaseLoss`.
    """

    def __init__(self,
                 temperature: float = 1.0,
                 loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        require_at_least('the KLLoss', 'temperature', temperature, 1e-3)
        self.temperature = temperature

    def forward(self, student_BK: Tensor, teacher_BK: Tensor) -> Tensor:
        """Divergence of the student from the teacher, >= 0."""
        divergence = functional.kl_div(
            (student_BK.float() / self.temperature).log_softmax(1),
            (teacher_BK.float() / self.temperature).log_softmax(1),
            reduction='batchmean',
            log_target=True)
        return self.loss_weight * self.temperature**2 * divergence


@MODELS.register_module()
class AgreedKLLoss(LogitsLoss):
    """KL(softmax(T) || softmax(S)) where both say the same class, else 0.

    Its negative asks for images that the teacher is sure of and the student
    is not, without images whose class the student has not learned yet. Mean
    over all samples, in nats. arXiv 2105.08584.
    """

    def forward(self, student_BK: Tensor, teacher_BK: Tensor) -> Tensor:
        """Divergence of the student from the teacher, >= 0."""
        student_BK, teacher_BK = student_BK.float(), teacher_BK.float()
        agreed_B = student_BK.argmax(1) == teacher_BK.argmax(1)
        divergence_B = functional.kl_div(
            student_BK.log_softmax(1),
            teacher_BK.log_softmax(1),
            reduction='none',
            log_target=True).sum(1)
        return self.loss_weight * (divergence_B * agreed_B).mean()


@MODELS.register_module()
class JSLoss(LogitsLoss):
    """Jensen-Shannon divergence of two classifiers at temperature t.

    With P = softmax(S / t), Q = softmax(T / t) and M = (P + Q) / 2::

        JS = 1/2 KL(P || M) + 1/2 KL(Q || M)            in [0, log 2]

    The released code of arXiv 2402.12406 differs in three points, each an
    option here: it averages over classes as well (``reduction='mean'``,
    smaller by a factor K), it clamps P, Q and M to [0.01, 0.99]
    (``clamp=(0.01, 0.99)``; where there are many classes and no sure answer,
    all probabilities lie below and there is no gradient), and it has the
    arguments of both KL terms the other way round (``swapped=True``:
    1/2 KL(M || P) + 1/2 KL(M || Q)).

    Args:
        temperature: t, > 0.
        reduction: ``'batchmean'``, the mean over samples, or ``'mean'``, the
            mean over samples and classes.
        clamp: None, or bounds in (0, 1] that P, Q and M are clamped to.
        swapped: Whether M stands first in both KL terms.
        loss_weight: See :class:`BaseLoss`.
    """

    def __init__(self,
                 temperature: float = 3.0,
                 reduction: Literal['batchmean', 'mean'] = 'batchmean',
                 clamp: tuple[float, float] | None = None,
                 swapped: bool = False,
                 loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        require_at_least('the JSLoss', 'temperature', temperature, 1e-3)
        if reduction not in ('batchmean', 'mean'):
            raise UserError("reduction must be 'batchmean' or 'mean', got "
                            f'{reduction!r}: set reduction of the JSLoss')
        if clamp is not None and not (isinstance(clamp, list | tuple)
                                      and len(clamp) == 2
                                      and 0 < clamp[0] < clamp[1] <= 1):
            raise UserError('clamp must be None or (low, high) with 0 < low '
                            f'< high <= 1, got {clamp!r}: set clamp of the '
                            'JSLoss')
        self.temperature = temperature
        self.reduction = reduction
        self.clamp = clamp
        self.swapped = swapped

    def forward(self, student_BK: Tensor, teacher_BK: Tensor) -> Tensor:
        """Divergence of two (B, K) logits; symmetric in its arguments."""
        log_p = (student_BK.float() / self.temperature).log_softmax(1)
        log_q = (teacher_BK.float() / self.temperature).log_softmax(1)
        p, q = log_p.exp(), log_q.exp()
        m = (p + q) / 2
        if self.clamp is not None:
            # M is the mean of what is not clamped yet, as released.
            p, q, m = (x.clamp(*self.clamp) for x in (p, q, m))
            log_p, log_q = p.log(), q.log()
        # A probability that underflows to 0 contributes nothing.
        log_m = m.clamp_min(torch.finfo(m.dtype).tiny).log()
        if self.swapped:
            divergence_BK = m * (2 * log_m - log_p - log_q) / 2
        else:
            divergence_BK = (p * (log_p - log_m) + q * (log_q - log_m)) / 2
        divergence = divergence_BK.mean() if self.reduction == 'mean' \
            else divergence_BK.sum(1).mean()
        return self.loss_weight * divergence
