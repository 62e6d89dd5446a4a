"""No class is left without samples."""
import math

import pytest
import torch
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.selectors import ClassQuotaSelector, GMMSelector
from tadfkd.structures import TeacherOutput


def answers(size: int = 200, classes: int = 5) -> Tensor:
    """Of a teacher that is surer of some classes than of others."""
    stream = torch.Generator().manual_seed(0)
    labels_B = torch.randint(classes, (size, ), generator=stream)
    sure_B = torch.rand(size, generator=stream) + 2.0 * labels_B
    logits_BK = torch.zeros(size, classes)
    logits_BK[torch.arange(size), labels_B] = sure_B + 0.1
    return logits_BK


@pytest.mark.parametrize('share', [0.01, 0.3, 1.0])
def test_each_class_keeps_its_share_of_the_best(share: float) -> None:
    logits_BK = answers()
    lenient_B = GMMSelector().select(TeacherOutput(logits_BK))
    mask_B = ClassQuotaSelector(dict(type='GMMSelector'),
                                share).select(TeacherOutput(logits_BK))
    # The other selector refuses whole classes here.
    assert len(logits_BK[lenient_B].argmax(1).unique()) < 5
    assert (mask_B | ~lenient_B).all()
    for label in range(5):
        own_B = logits_BK.argmax(1) == label
        quota = math.ceil(round(share * int(own_B.sum()), 6))
        kept_B = mask_B & own_B
        assert int(kept_B.sum()) == max(quota, int((lenient_B & own_B).sum()))
        refused = logits_BK[own_B & ~mask_B].amax(1)
        if len(refused):
            assert logits_BK[kept_B].amax(1).min() >= refused.max()


def test_rows_that_are_not_finite_are_refused_and_take_no_place() -> None:
    logits_BK = answers()
    selector = ClassQuotaSelector(dict(type='GMMSelector'), 0.5)
    spoilt_BK = torch.cat((logits_BK, logits_BK.new_full(
        (7, 5), torch.nan), logits_BK.new_full((3, 5), torch.inf)))
    mask_B = selector.select(TeacherOutput(spoilt_BK))
    assert not mask_B[len(logits_BK):].any()
    assert mask_B[:len(logits_BK)].equal(
        selector.select(TeacherOutput(logits_BK)))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match='SelectAll does not grade'):
        ClassQuotaSelector(dict(type='SelectAll'), 0.3)
    with pytest.raises(UserError, match=r'min_share must be in \(0, 1\]'):
        ClassQuotaSelector(dict(type='GMMSelector'), 0.0)
