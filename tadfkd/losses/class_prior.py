"""Losses on the teacher's output: what should it say of generated images?"""
import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tadfkd.distributed.reductions import global_mean
from tadfkd.errors import require_choice
from tadfkd.losses.base_loss import BaseLoss, LabelLoss
from tadfkd.registry import MODELS
from tadfkd.structures import TeacherOutput
from tadfkd.utils.precision import at_least_float32


@MODELS.register_module()
class OneHotLoss(LabelLoss):
    """Mean cross-entropy against a class, ``CE(T(x), y)``, in nats, >= 0.

    With labels y the loss asks the teacher to recognise the class that the
    generator was given. Without labels y is the teacher's own argmax, and the
    loss asks the teacher to be sure (arXiv 1904.01186).

    Example:
        >>> logits_BK = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
        >>> OneHotLoss()(logits_BK)
        tensor(0.1269)
        >>> OneHotLoss()(logits_BK, torch.tensor([0, 0]))
        tensor(1.1269)
    """

    def forward(self,
                logits_BK: Tensor,
                labels_B: Tensor | None = None) -> Tensor:
        """The mean over samples, of (B, K) logits."""
        logits_BK = at_least_float32(logits_BK)
        if labels_B is None:
            labels_B = logits_BK.detach().argmax(1)
        return self.loss_weight * functional.cross_entropy(logits_BK, labels_B)


@MODELS.register_module()
class ClassBalanceLoss(BaseLoss):
    """sum_k pbar_k log pbar_k, where pbar is the batch mean of softmax(T(x)).

    This is the negative entropy of the predicted classes. The least value,
    -log K, means that all classes are equally frequent. The batch is that of
    all processes. arXiv 1904.01186.

    Args:
        log_base: ``'e'``, or ``'10'`` as in the released code of DAFL, which
            makes the term smaller by a factor of 2.3.
        loss_weight: See :class:`BaseLoss`.

    Example:
        >>> ClassBalanceLoss()(torch.tensor([[9.0, -9.0], [-9.0, 9.0]]))
        tensor(-0.6931)
    """

    def __init__(self,
                 log_base: Literal['e', '10'] = 'e',
                 loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        require_choice(f'the {type(self).__name__}', 'log_base', log_base,
                       ('e', '10'))
        self.scale = 1.0 if log_base == 'e' else 1 / math.log(10)

    def forward(self, logits_BK: Tensor) -> Tensor:
        """The negative entropy, <= 0, of (B, K) logits."""
        mean_K = global_mean(
            at_least_float32(logits_BK).softmax(1).mean(0), len(logits_BK))
        # The gradient is NaN for a class whose mean underflows to 0.
        mean_K = mean_K.clamp_min(torch.finfo(mean_K.dtype).tiny)
        return -self.loss_weight * self.scale * torch.special.entr(
            mean_K).sum()


@MODELS.register_module()
class ActivationLoss(BaseLoss):
    """``-mean |f_T(x)|`` over samples and penultimate features, <= 0.

    Images like the teacher's training images activate its features more.
    arXiv 1904.01186.

    Example:
        >>> ActivationLoss()(torch.tensor([[1.0, -3.0]]))
        tensor(-2.)
    """

    def forward(self, features_BF: Tensor) -> Tensor:
        """The negative mean magnitude of (B, F) features."""
        return -self.loss_weight * at_least_float32(features_BF).abs().mean()


@MODELS.register_module()
class ClassPrior(nn.Module):
    """The three terms of DAFL (arXiv 1904.01186).

    A term whose weight is 0 is left out.

    Args:
        one_hot: Weight of :class:`OneHotLoss`, >= 0.
        balance: Weight of :class:`ClassBalanceLoss`, >= 0.
        activation: Weight of :class:`ActivationLoss`, >= 0.
        log_base: See :class:`ClassBalanceLoss`.

    Example:
        >>> prior = ClassPrior(one_hot=1.0, balance=5.0, activation=0.0)
        >>> sorted(prior(TeacherOutput(logits_BK=torch.zeros(2, 10))))
        ['balance', 'one_hot']
    """

    def __init__(self,
                 one_hot: float,
                 balance: float,
                 activation: float,
                 log_base: Literal['e', '10'] = 'e') -> None:
        super().__init__()
        self.one_hot = OneHotLoss(one_hot)
        self.balance = ClassBalanceLoss(log_base, balance)
        self.activation = ActivationLoss(activation)

    @property
    def reads_features(self) -> bool:
        """Whether the teacher's penultimate features are needed."""
        return self.activation.loss_weight > 0

    def forward(self,
                output: TeacherOutput,
                labels_B: Tensor | None = None) -> dict[str, Tensor]:
        """The terms by name.

        Args:
            output: The teacher's output for generated images; with features
                where ``reads_features`` is True.
            labels_B: The classes that the generator was given, if any.
        """
        terms = {}
        if self.one_hot.loss_weight > 0:
            terms['one_hot'] = self.one_hot(output.logits_BK, labels_B)
        if self.balance.loss_weight > 0:
            terms['balance'] = self.balance(output.logits_BK)
        if self.reads_features:
            assert output.features_BF is not None
            terms['activation'] = self.activation(output.features_BF)
        return terms
