"""A selector that leaves no class without samples."""
import torch
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.registry import SELECTORS
from tadfkd.selectors.base_selector import BaseSelector, ranks


@SELECTORS.register_module()
class ClassQuotaSelector(BaseSelector):
    """Keep what another selector keeps, and a share of every class.

    A teacher is surer of some classes than of others, and a selector that
    compares all samples can refuse a whole class. Here each class of the
    teacher's answers keeps at least ``min_share`` of its samples in a batch,
    rounded up: those that the other selector finds best.

    Args:
        selector: Config of the other selector, which must read the teacher.
        min_share: In (0, 1].

    Raises:
        UserError: If the other selector does not read the teacher, or the
            share is out of range.

    Example:
        >>> from tadfkd.structures import TeacherOutput
        >>> selector = ClassQuotaSelector(
        ...     dict(type='ConfidenceSelector', min_confidence=0.9), 0.5)
        >>> logits_BK = torch.tensor([[9.0, 0], [8, 0], [0, 1], [0, 2.0]])
        >>> selector.select(TeacherOutput(logits_BK))
        tensor([ True,  True, False,  True])
    """

    def __init__(self, selector: dict, min_share: float) -> None:
        self.selector: BaseSelector = SELECTORS.build(selector)
        if not self.selector.reads_teacher:
            raise UserError(
                f'a {type(self.selector).__name__} does not grade samples: '
                'set model.selector.selector to another selector, such as '
                "dict(type='GMMSelector')")
        if not 0 < min_share <= 1:
            raise UserError(f'min_share must be in (0, 1], got {min_share!r}: '
                            'set model.selector.min_share')
        super().__init__(self.selector.min_selected)
        self.min_share = min_share

    def judge(self, logits_BK: Tensor, finite_B: Tensor,
              labels_B: Tensor | None) -> tuple[Tensor, Tensor]:
        """See :meth:`BaseSelector.judge`."""
        badness_B, mask_B = self.selector.judge(logits_BK, finite_B, labels_B)
        order_B = ranks(badness_B.masked_fill(~finite_B, torch.inf))
        # A row that is not finite belongs to no class.
        classes_BK = torch.nn.functional.one_hot(
            logits_BK.nan_to_num().argmax(1),
            logits_BK.shape[1]) * finite_B[:, None]
        sorted_BK = torch.empty_like(classes_BK)
        sorted_BK[order_B] = classes_BK
        # Of each sample: how many of its class are at least as good.
        place_B = (sorted_BK.cumsum(0)[order_B] * classes_BK).sum(1)
        size_B = (classes_BK.sum(0) * classes_BK).sum(1)
        # Rounding may put a whole number just above itself.
        quota_B = (self.min_share * size_B.double() - 1e-6).ceil()
        return badness_B, mask_B | (place_B <= quota_B)
