"""What every selector promises, whatever its criterion."""
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tadfkd.errors import UserError
from tadfkd.selectors import (BaseSelector, ConfidenceSelector,
                              EntropySelector, GMMSelector, SelectAll,
                              TopFractionSelector)
from tadfkd.structures import TeacherOutput

JUDGES = [
    partial(GMMSelector, 0.5),
    partial(ConfidenceSelector, 0.9),
    partial(EntropySelector, 0.2),
    partial(TopFractionSelector, 0.8)
]


def logits(batch: int = 40, classes: int = 5, seed: int = 0) -> Tensor:
    """Some confident and some doubtful rows."""
    stream = torch.Generator().manual_seed(seed)
    scale_B1 = 1 + 9 * torch.rand(batch, 1, generator=stream)
    return scale_B1 * torch.randn(batch, classes, generator=stream)


def losses_by_hand(logits_BK: Tensor) -> np.ndarray:
    """-log of the largest softmax probability, in float64."""
    values_BK = logits_BK.double().numpy()
    values_BK = values_BK - values_BK.max(1, keepdims=True)
    return np.log(np.exp(values_BK).sum(1))


class RefuseToWait(TorchDispatchMode):
    """Fails at operations that make the host wait for a GPU."""

    # ``lift_fresh`` ends the making of a tensor out of Python numbers, which
    # on a GPU is a blocking copy from the host.
    FORBIDDEN = ('_local_scalar_dense', 'nonzero', 'masked_select', 'unique',
                 'equal.default', 'is_nonzero', 'lift_fresh')

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = str(function)
        assert not any(word in name for word in self.FORBIDDEN), name
        if 'index' in name and len(args) > 1 and isinstance(args[1], list):
            assert all(index is None or index.dtype != torch.bool
                       for index in args[1]), f'{name} with a boolean mask'
        devices = {
            tensor.device
            for tensor in args if isinstance(tensor, Tensor) and tensor.ndim
        }
        assert len(devices) < 2, f'{name} between devices'
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize('batch', [1, 2, 33])
@pytest.mark.parametrize('kind', [*JUDGES, SelectAll])
def test_selecting_never_waits_for_the_device(kind: Callable,
                                              batch: int) -> None:
    selector = kind()
    logits_BK = logits(batch)
    with RefuseToWait():
        mask_B = selector.select(TeacherOutput(logits_BK))
    assert torch.equal(mask_B, selector.select(TeacherOutput(logits_BK)))


@pytest.mark.parametrize('kind', JUDGES)
def test_rows_that_are_not_finite_are_never_selected_and_change_nothing(
        kind: Callable) -> None:
    clean_BK = logits(30)
    expected_B = kind().select(TeacherOutput(clean_BK))

    broken_BK = torch.zeros(40, 5)
    is_broken_B = torch.zeros(40, dtype=torch.bool)
    is_broken_B[[0, 5, 6, 13, 20, 21, 22, 30, 38, 39]] = True
    broken_BK[~is_broken_B] = clean_BK
    damage_BK = logits(10, seed=1)
    damage_BK[:4, 2] = torch.nan
    damage_BK[4:6, 0] = torch.inf
    damage_BK[6:8, 1] = -torch.inf
    damage_BK[8] = torch.inf
    damage_BK[9] = torch.nan
    broken_BK[is_broken_B] = damage_BK

    mask_B = kind().select(TeacherOutput(broken_BK))
    assert not mask_B[is_broken_B].any()
    assert torch.equal(mask_B[~is_broken_B], expected_B)


@pytest.mark.parametrize('value', [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize('kind', JUDGES)
def test_nothing_is_selected_if_nothing_is_finite(kind: Callable,
                                                  value: float) -> None:
    output = TeacherOutput(torch.full((4, 3), value))
    assert kind(min_selected=3).select(output).tolist() == [False] * 4


@pytest.mark.parametrize('kind', JUDGES)
def test_min_selected_beyond_the_batch_selects_all_finite_rows(
        kind: Callable) -> None:
    logits_BK = logits(6)
    logits_BK[2, 0] = torch.nan
    assert kind(min_selected=100).select(TeacherOutput(logits_BK)).tolist() \
        == [True, True, False, True, True, True]


@pytest.mark.parametrize('fallback', [1, 3])
@pytest.mark.parametrize(
    'selector', [
        ConfidenceSelector(min_confidence=1.0),
        EntropySelector(max_entropy=1e-6),
        TopFractionSelector(fraction=1e-6),
        GMMSelector(threshold=1 - 1e-15)
    ],
    ids=lambda selector: type(selector).__name__)
def test_the_best_are_selected_if_nothing_passes(selector: BaseSelector,
                                                 fallback: int) -> None:
    # Two classes: the loss and the entropy order the samples alike.
    logits_BK = logits(12, classes=2) / 10
    selector.min_selected = fallback
    best = set(losses_by_hand(logits_BK).argsort()[:fallback].tolist())
    mask_B = selector.select(TeacherOutput(logits_BK))
    assert set(mask_B.nonzero().squeeze(1).tolist()) == best


def test_min_selected_below_one_is_refused() -> None:
    with pytest.raises(UserError, match='set model.selector.min_selected'):
        GMMSelector(min_selected=0)
