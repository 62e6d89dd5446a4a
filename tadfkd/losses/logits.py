"""Distances between the student's and the teacher's logits."""
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tadfkd.errors import UserError, require_at_least, require_choice
from tadfkd.losses.base_loss import LogitsLoss
from tadfkd.registry import MODELS
from tadfkd.utils.precision import at_least_float32


@MODELS.register_module()
class L1Loss(LogitsLoss):
    """Mean absolute difference of logits, ``mean |S(x) - T(x)|``, >= 0.

    Example:
        >>> L1Loss()(torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 1.0]]))
        tensor(2.)
    """

    def forward(self, student_BK: Tensor, teacher_BK: Tensor) -> Tensor:
        """The mean over samples and classes, of (B, K) logits."""
        return self.loss_weight * functional.l1_loss(
            at_least_float32(student_BK), at_least_float32(teacher_BK))


@MODELS.register_module()
class KLLoss(LogitsLoss):
    """t^2 KL(softmax(T / t) || softmax(S / t)), in nats.

    Args:
        temperature: t, > 0.
        loss_weight: See :class:`BaseLoss`.
        reduction: ``'batchmean'``, the mean over samples, or ``'mean'``, the
            mean over samples and classes, which is smaller by a factor K.

    Example:
        >>> student_BK = torch.tensor([[0.0, 0.0]])
        >>> teacher_BK = torch.tensor([[0.0, 2.0]])
        >>> KLLoss(temperature=4.0)(student_BK, teacher_BK)
        tensor(0.4848)
    """

    def __init__(
            self,
            temperature: float = 1.0,
            loss_weight: float = 1.0,
            reduction: Literal['batchmean', 'mean'] = 'batchmean') -> None:
        super().__init__(loss_weight)
        require_at_least('the KLLoss', 'temperature', temperature, 1e-3)
        require_choice('the KLLoss', 'reduction', reduction,
                       ('batchmean', 'mean'))
        self.temperature = temperature
        self.reduction = reduction

    def forward(self, student_BK: Tensor, teacher_BK: Tensor) -> Tensor:
        """The divergence of the student from the teacher, >= 0."""
        divergence = functional.kl_div(
            (at_least_float32(student_BK) / self.temperature).log_softmax(1),
            (at_least_float32(teacher_BK) / self.temperature).log_softmax(1),
            reduction='batchmean',
            log_target=True)
        if self.reduction == 'mean':
            # torch warns of its own reduction 'mean', which is this one.
            divergence = divergence / student_BK.shape[1]
        return self.loss_weight * self.temperature**2 * divergence


@MODELS.register_module()
class LogitsLossSum(LogitsLoss):
    """The sum of several distances of logits.

    Args:
        losses: Configs of :class:`LogitsLoss` es, at least one, each with its
            own weight.
        loss_weight: See :class:`BaseLoss`; a factor of the sum.

    Example:
        >>> loss = LogitsLossSum([dict(type='L1Loss'), dict(type='KLLoss')])
        >>> loss(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 2.0]]))
        tensor(1.3278)
    """

    def __init__(self,
                 losses: Sequence[dict],
                 loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        if not losses:
            raise UserError('losses must name at least one loss, such as '
                            "dict(type='L1Loss'), got none: set losses of "
                            'the LogitsLossSum')
        self.losses = nn.ModuleList(MODELS.build(loss) for loss in losses)

    def forward(self, student_BK: Tensor, teacher_BK: Tensor) -> Tensor:
        """The sum, of (B, K) logits."""
        return self.loss_weight * torch.stack(
            [loss(student_BK, teacher_BK) for loss in self.losses]).sum()


@MODELS.register_module()
class AgreedKLLoss(LogitsLoss):
    """KL(softmax(T) || softmax(S)) where both predict one class, else 0.

    A generator that raises this loss makes images that the teacher is sure
    of and the student is not. It avoids images whose class the student has
    not learned yet. The mean is over all samples, in nats. arXiv 2105.08584.

    Example:
        >>> student_BK = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
        >>> teacher_BK = torch.tensor([[0.0, 3.0], [3.0, 0.0]])
        >>> AgreedKLLoss()(student_BK, teacher_BK)
        tensor(0.0849)
    """

    def forward(self, student_BK: Tensor, teacher_BK: Tensor) -> Tensor:
        """The divergence of the student from the teacher, >= 0."""
        student_BK = at_least_float32(student_BK)
        teacher_BK = at_least_float32(teacher_BK)
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

    The released code of arXiv 2402.12406 differs in four points. Each of
    them is an option here:

    - ``reduction='mean'`` averages over classes as well, so the loss is
      smaller by a factor K.
    - ``clamp=(0.01, 0.99)`` clamps P, Q and M. With many classes and no
      confident prediction all probabilities lie below the clamp, and there
      is no gradient.
    - ``swapped=True`` swaps the arguments of both KL terms:
      1/2 KL(M || P) + 1/2 KL(M || Q).
    - ``bounded=True`` clamps the result to [0, 1]. The divergence of clamped
      probabilities can be negative, for example with 100 classes early in
      training. It is then 0 and has no gradient.

    Args:
        temperature: t, > 0.
        reduction: ``'batchmean'``, the mean over samples, or ``'mean'``, the
            mean over samples and classes.
        clamp: None, or bounds in (0, 1] that P, Q and M are clamped to.
        swapped: Whether M stands first in both KL terms.
        bounded: Whether the divergence, before its weight, is clamped to
            [0, 1].
        loss_weight: See :class:`BaseLoss`.

    Example:
        >>> student_BK = torch.tensor([[90.0, 0.0, 0.0]])
        >>> JSLoss(temperature=3.0)(student_BK, student_BK.flip(1))
        tensor(0.6931)
    """

    def __init__(self,
                 temperature: float = 1.0,
                 reduction: Literal['batchmean', 'mean'] = 'batchmean',
                 clamp: tuple[float, float] | None = None,
                 swapped: bool = False,
                 bounded: bool = False,
                 loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        require_at_least('the JSLoss', 'temperature', temperature, 1e-3)
        require_choice('the JSLoss', 'reduction', reduction,
                       ('batchmean', 'mean'))
        if clamp is not None and not 0 < clamp[0] < clamp[1] <= 1:
            raise UserError('clamp must be None or (low, high) with 0 < low '
                            f'< high <= 1, got {clamp!r}: set clamp of the '
                            'JSLoss')
        self.temperature = temperature
        self.reduction = reduction
        self.clamp = clamp
        self.swapped = swapped
        self.bounded = bounded

    def forward(self, student_BK: Tensor, teacher_BK: Tensor) -> Tensor:
        """The divergence of two (B, K) logits, symmetric in its arguments."""
        student_BK = at_least_float32(student_BK) / self.temperature
        teacher_BK = at_least_float32(teacher_BK) / self.temperature
        log_p, log_q = student_BK.log_softmax(1), teacher_BK.log_softmax(1)
        p, q = log_p.exp(), log_q.exp()
        m = (p + q) / 2
        if self.clamp is not None:
            # M is the mean of P and Q before the clamp, as released.
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
        if self.bounded:
            divergence = divergence.clamp(0, 1)
        return self.loss_weight * divergence
