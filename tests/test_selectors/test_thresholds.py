"""Selectors without a fit against NumPy in float64."""
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.selectors import (ConfidenceSelector, EntropySelector, SelectAll,
                              TopFractionSelector)
from tadfkd.structures import TeacherOutput


def logits(batch: int, classes: int, seed: int = 0) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    scale_B1 = 12 * torch.rand(batch, 1, generator=stream)
    return scale_B1 * torch.randn(batch, classes, generator=stream)


def probabilities(logits_BK: Tensor) -> np.ndarray:
    values_BK = logits_BK.double().numpy()
    exponentials_BK = np.exp(values_BK - values_BK.max(1, keepdims=True))
    return exponentials_BK / exponentials_BK.sum(1, keepdims=True)


@pytest.mark.parametrize('threshold', [0.3, 0.9])
@pytest.mark.parametrize('classes', [2, 10])
def test_confidence_is_the_largest_probability(classes: int,
                                               threshold: float) -> None:
    logits_BK = logits(200, classes)
    expected_B = probabilities(logits_BK).max(1) >= threshold
    mask_B = ConfidenceSelector(threshold).select(TeacherOutput(logits_BK))
    assert mask_B.numpy().tolist() == expected_B.tolist()
    assert 0 < expected_B.sum() and (threshold <= 1 / classes
                                     or expected_B.sum() < 200)


@pytest.mark.parametrize('limit', [0.05, 0.7])
@pytest.mark.parametrize('classes', [2, 10])
def test_entropy_is_measured_in_units_of_its_maximum(classes: int,
                                                     limit: float) -> None:
    logits_BK = logits(200, classes)
    entropies = []
    for row_K in probabilities(logits_BK):
        entropies.append(-sum(p * math.log(p) for p in row_K if p > 0))
    expected_B = np.array(entropies) <= limit * math.log(classes)
    mask_B = EntropySelector(limit).select(TeacherOutput(logits_BK))
    assert mask_B.numpy().tolist() == expected_B.tolist()
    assert 0 < expected_B.sum() < 200


@pytest.mark.parametrize('classes', [2, 3, 7, 10, 33, 200])
def test_the_maximal_entropy_is_within_the_maximal_bound(classes: int) -> None:
    # The bound 1 refuses nothing, also where rounding puts the entropy of
    # equal logits above log K.
    output = TeacherOutput(torch.zeros(4, classes))
    assert EntropySelector(max_entropy=1.0).select(output).all()


def test_entropy_of_certain_predictions_is_zero_and_not_nan() -> None:
    output = TeacherOutput(
        torch.tensor([[1e4, 0.0, -1e4], [0.0, 0.0, 0.0], [-1e4, 0.0, 1e4]]))
    assert EntropySelector(1e-3).select(output).tolist() == [True, False, True]


@pytest.mark.parametrize('fraction, batch, kept', [(0.8, 10, 8), (0.5, 7, 4),
                                                   (0.01, 30, 1), (1.0, 9, 9),
                                                   (1, 9, 9), (0.34, 100, 34)])
def test_the_top_fraction_has_the_least_losses(fraction: float, batch: int,
                                               kept: int) -> None:
    logits_BK = logits(batch, 6)
    best = np.argsort(-probabilities(logits_BK).max(1))[:kept]
    mask_B = TopFractionSelector(fraction).select(TeacherOutput(logits_BK))
    assert sorted(best.tolist()) == mask_B.nonzero().squeeze(1).tolist()


def test_select_all_keeps_also_what_no_teacher_could_judge() -> None:
    selector = SelectAll()
    mask_B = selector.select(TeacherOutput(torch.full((5, 3), torch.nan)))
    assert mask_B.tolist() == [True] * 5
    assert not selector.reads_teacher
    assert ConfidenceSelector(0.9).reads_teacher


@pytest.mark.parametrize('value', [0.0, -0.1, 1.1, float('nan')])
@pytest.mark.parametrize('kind, name', [(ConfidenceSelector, 'min_confidence'),
                                        (EntropySelector, 'max_entropy'),
                                        (TopFractionSelector, 'fraction')])
def test_a_fraction_outside_0_and_1_is_refused(kind: type, name: str,
                                               value: float) -> None:
    with pytest.raises(UserError) as caught:
        kind(**{name: value})
    message = str(caught.value)
    assert f'got {value!r}' in message and '(0, 1]' in message
    assert f'set model.selector.{name}' in message
