"""Losses on the teacher's output against NumPy in float64."""
import math

import equations
import numpy as np
import pytest
import torch
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.losses import (ActivationLoss, ClassBalanceLoss, ClassPrior,
                           OneHotLoss)
from tadfkd.structures import TeacherOutput

LABELS = [0, 1, 2, 3, 4, 0, 2]


@pytest.fixture
def logits_BK() -> Tensor:
    """Seven rows of five classes."""
    return 3 * torch.randn(7, 5)


def one_hot(logits_BK: Tensor, labels: list[int] | None = None) -> float:
    rows_BK = logits_BK.double().numpy()
    return equations.cross_entropy(rows_BK, labels or rows_BK.argmax(1))


def balance(logits_BK: Tensor, log_base: str) -> float:
    mean_K = equations.softmax(logits_BK.double().numpy()).mean(0)
    return (mean_K *
            np.log(mean_K)).sum() / (1 if log_base == 'e' else math.log(10))


def test_one_hot_is_the_cross_entropy_of_labels_or_the_teachers_argmax(
        logits_BK: Tensor) -> None:
    # Some labels are not the teacher's own prediction.
    assert logits_BK.argmax(1).tolist() != LABELS
    assert OneHotLoss(loss_weight=2)(
        logits_BK, torch.tensor(LABELS)).item() == pytest.approx(
            2 * one_hot(logits_BK, LABELS), rel=1e-5)
    assert OneHotLoss()(logits_BK).item() == pytest.approx(
        one_hot(logits_BK), rel=1e-5)


@pytest.mark.parametrize('log_base', ['e', '10'])
def test_balance_is_the_negative_entropy_of_the_mean_prediction(
        logits_BK: Tensor, log_base: str) -> None:
    loss = ClassBalanceLoss(log_base, loss_weight=5)
    assert loss(logits_BK).item() == pytest.approx(
        5 * balance(logits_BK, log_base), rel=1e-5)
    # Each sample sure of a class of its own, and every one unsure: the mean
    # is the same, and the loss is lowest.
    for even_BK in (1e3 * torch.eye(5), torch.zeros(2, 5)):
        assert loss(even_BK).item() == pytest.approx(
            -5 * (math.log if log_base == 'e' else math.log10)(5))


def test_balance_has_finite_gradients_where_a_class_never_occurs() -> None:
    logits_BK = torch.tensor([[1e4, 0.0, 3.0], [0.0, 1e4, 3.0]],
                             requires_grad=True)
    loss = ClassBalanceLoss()(logits_BK)
    loss.backward()
    assert loss.isfinite()
    assert logits_BK.grad is not None and logits_BK.grad.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(logits_BK: Tensor,
                                               dtype: torch.dtype) -> None:
    half_BK = logits_BK.to(dtype)
    for loss in (OneHotLoss(), ClassBalanceLoss(), ActivationLoss()):
        assert loss(half_BK).dtype == torch.float32
        assert loss(half_BK) == loss(half_BK.float())


@pytest.mark.parametrize('labels', [None, LABELS])
@pytest.mark.parametrize('log_base', ['e', '10'])
def test_the_prior_is_its_three_terms_with_their_weights(
        logits_BK: Tensor, log_base: str, labels: list[int] | None) -> None:
    features_BF = torch.randn(7, 4)
    prior = ClassPrior(0.5, 20.0, 0.1, log_base)
    terms = prior(
        TeacherOutput(logits_BK, features_BF),
        None if labels is None else torch.tensor(labels))
    expected = dict(
        one_hot=0.5 * one_hot(logits_BK, labels),
        balance=20 * balance(logits_BK, log_base),
        activation=-0.1 * np.abs(features_BF.numpy()).mean())
    assert {
        name: term.item()
        for name, term in terms.items()
    } == pytest.approx(
        expected, rel=1e-5)


@pytest.mark.parametrize('kept', ['one_hot', 'balance', 'activation', None])
def test_a_term_without_weight_is_left_out(logits_BK: Tensor,
                                           kept: str | None) -> None:
    weights = dict(one_hot=0.0, balance=0.0, activation=0.0)
    prior = ClassPrior(**weights | ({} if kept is None else {kept: 1.0}))
    # Features cost a hook in the teacher, so only one term requests them.
    assert prior.reads_features == (kept == 'activation')
    features_BF = torch.randn(7, 4) if prior.reads_features else None
    assert {*prior(TeacherOutput(logits_BK, features_BF))} == {kept} - {None}


def test_another_logarithm_is_refused() -> None:
    with pytest.raises(UserError, match="got '2': set .*log_base"):
        ClassPrior(1.0, 1.0, 1.0, '2')
