"""What the teacher is wanted to say of generated images."""
import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tadfkd.distributed.reductions import global_mean
from tadfkd.errors import UserError
from tadfkd.losses.base_loss import BaseLoss, LabelLoss
from tadfkd.registry import MODELS
from tadfkd.structures import TeacherOutput


@MODELS.register_module()
class OneHotLoss(LabelLoss):
    """Mean cross-entropy against a class, ``CE(T(x), y)``, in nats, >= 0.

    With labels y it asks the teacher to recognise the class that was wanted;
    without, y is the teacher's own argmax and it asks the teacher to be sure
    (arXiv 1904.01186).
    """

    def forward(self,
                logits_BK: Tensor,
                labels_B: Tensor | None = None) -> Tensor:
        """Mean over samples of (B, K) logits."""
        logits_BK = logits_BK.float()
        if labels_B is None:
            labels_B = logits_BK.detach().argmax(1)
        return self.loss_weight * functional.cross_entropy(logits_BK, labels_B)


@MODELS.register_module()
class ClassBalanceLoss(BaseLoss):
    """sum_k pbar_k log pbar_k with pbar the batch's mean of softmax(T(x)).

    The negative entropy of the predicted classes: smallest, -log K, where all
    are equally frequent. The batch is that of all processes.
    arXiv 1904.01186.

    Args:
        log_base: ``'e'``, or ``'10'`` as in the released code of DAFL, which
            makes the term smaller by a factor of 2.3.
        loss_weight: See :class:`BaseLoss`.
    """

    def __init__(self,
                 log_base: Literal['e', '10'] = 'e',
                 loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        if log_base not in ('e', '10'):
            raise UserError(f"log_base must be 'e' or '10', got {log_base!r}: "
                            'set log_base of the ClassBalanceLoss')
        self.scale = 1.0 if log_base == 'e' else 1 / math.log(10)

    def forward(self, logits_BK: Tensor) -> Tensor:
        """The negative entropy, <= 0, of (B, K) logits."""
        mean_K = global_mean(logits_BK.float().softmax(1).mean(0),
                             len(logits_BK))
        # Of a class that underflows to 0 the gradient would be no number.
        mean_K = mean_K.clamp_min(torch.finfo(mean_K.dtype).tiny)
        return -self.loss_weight * self.scale * torch.special.entr(
            mean_K).sum()


@MODELS.register_module()
class ActivationLoss(BaseLoss):
    """``-mean |f_T(x)|`` over samples and penultimate features, <= 0.

    Images like those that the teacher was trained on excite its features
    more. arXiv 1904.01186.
    """

    def forward(self, features_BF: Tensor) -> Tensor:
        """The negative mean magnitude of (B, F) features."""
        return -self.loss_weight * features_BF.float().abs().mean()


@MODELS.register_module()
class ClassPrior(nn.Module):
    """The three terms of DAFL together, each left out where its weight is 0.

    Args:
        one_hot: Weight of :class:`OneHotLoss`, >= 0.
        balance: Weight of :class:`ClassBalanceLoss`, >= 0.
        activation: Weight of :class:`ActivationLoss`, >= 0.
        log_base: See :class:`ClassBalanceLoss`.
    """

    def __init__(self,
                 one_hot: float = 1.0,
                 balance: float = 5.0,
                 activation: float = 0.1,
                 log_base: Literal['e', '10'] = '10') -> None:
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
        """The terms by name, of the teacher's answer to generated images.

        Args:
            output: With features, if they are read.
            labels_B: The classes that were wanted, if there are any.
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
