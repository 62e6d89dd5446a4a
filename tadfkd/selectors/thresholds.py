"""Selectors that compare each sample with a threshold or a rank."""
import math

import torch
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.registry import SELECTORS
from tadfkd.selectors.base_selector import (BaseSelector, ComparingSelector,
                                            Scope, pseudo_label_loss, ranks)
from tadfkd.structures import TeacherOutput


def _require_fraction(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise UserError(f'{name} must be in (0, 1], got {value!r}: '
                        f'set model.selector.{name}')


@SELECTORS.register_module()
class ConfidenceSelector(BaseSelector):
    """Keep samples whose largest teacher probability reaches a threshold.

    Args:
        min_confidence: In (0, 1].
        min_selected: See :class:`BaseSelector`.

    Example:
        >>> output = TeacherOutput(torch.tensor([[3.0, 0.0], [1.0, 0.0]]))
        >>> ConfidenceSelector(min_confidence=0.9).select(output)
        tensor([ True, False])
    """

    def __init__(self, min_confidence: float, min_selected: int = 1) -> None:
        super().__init__(min_selected)
        _require_fraction('min_confidence', min_confidence)
        self.min_confidence = min_confidence

    def judge(self, logits_BK: Tensor, finite_B: Tensor,
              labels_B: Tensor | None) -> tuple[Tensor, Tensor]:
        """See :meth:`BaseSelector.judge`."""
        confidence_B = (-pseudo_label_loss(logits_BK)).exp()
        return -confidence_B, confidence_B >= self.min_confidence


@SELECTORS.register_module()
class EntropySelector(BaseSelector):
    """Keep samples of low predictive entropy.

    Args:
        max_entropy: Bound on the entropy of the teacher's softmax as a
            fraction of its maximum log K, in (0, 1].
        min_selected: See :class:`BaseSelector`.

    Example:
        >>> output = TeacherOutput(torch.tensor([[5.0, 0.0], [1.0, 0.0]]))
        >>> EntropySelector(max_entropy=0.2).select(output)
        tensor([ True, False])
    """

    def __init__(self, max_entropy: float, min_selected: int = 1) -> None:
        super().__init__(min_selected)
        _require_fraction('max_entropy', max_entropy)
        self.max_entropy = max_entropy

    def judge(self, logits_BK: Tensor, finite_B: Tensor,
              labels_B: Tensor | None) -> tuple[Tensor, Tensor]:
        """See :meth:`BaseSelector.judge`."""
        entropy_B = torch.special.entr(logits_BK.softmax(1)).sum(1)
        limit = self.max_entropy * math.log(logits_BK.shape[1])
        # By rounding, a uniform row can exceed the largest entropy.
        return entropy_B, entropy_B <= limit * (1 + 1e-5)


@SELECTORS.register_module()
class TopFractionSelector(ComparingSelector):
    """Keep the given fraction of the finite samples, those of least loss.

    The loss is the cross-entropy of the teacher against its own argmax. The
    number of kept samples is rounded up.

    Args:
        fraction: In (0, 1].
        min_selected: See :class:`BaseSelector`.
        scope: See :class:`ComparingSelector`.

    Example:
        >>> logits_BK = torch.tensor([[1.0, 0.0], [5.0, 0.0], [3.0, 0.0]])
        >>> selector = TopFractionSelector(fraction=0.5)
        >>> selector.select(TeacherOutput(logits_BK))
        tensor([False,  True,  True])
    """

    def __init__(self,
                 fraction: float,
                 min_selected: int = 1,
                 scope: Scope = 'global') -> None:
        super().__init__(min_selected, scope)
        _require_fraction('fraction', fraction)
        self.fraction = fraction

    def compare(self, loss_B: Tensor, finite_B: Tensor) -> Tensor:
        """See :meth:`ComparingSelector.compare`."""
        ranks_B = ranks(loss_B.masked_fill(~finite_B, torch.inf))
        # Rounding may put a whole number just above itself; ceil() must not
        # make it one more.
        kept = (self.fraction * finite_B.sum().double() - 1e-6).ceil()
        return ranks_B < kept


@SELECTORS.register_module()
class SelectAll(BaseSelector):
    """Keep every sample, for methods without selection.

    Example:
        >>> SelectAll().select(TeacherOutput(torch.zeros(3, 10)))
        tensor([True, True, True])
    """

    reads_teacher = False

    def __init__(self) -> None:
        super().__init__(min_selected=1)

    def select(self,
               output: TeacherOutput,
               labels_B: Tensor | None = None) -> Tensor:
        """A mask that is True everywhere."""
        logits_BK = output.logits_BK
        return torch.ones(
            len(logits_BK), dtype=torch.bool, device=logits_BK.device)

    def judge(self, logits_BK: Tensor, finite_B: Tensor,
              labels_B: Tensor | None) -> tuple[Tensor, Tensor]:
        """See :meth:`BaseSelector.judge`."""
        return torch.zeros_like(logits_BK[:, 0]), torch.ones_like(finite_B)
