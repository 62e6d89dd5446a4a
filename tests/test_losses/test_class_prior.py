"""What the teacher is wanted to say, by loops over samples and classes."""
import math

import pytest
import torch
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.losses import (ActivationLoss, ClassBalanceLoss, ClassPrior,
                           OneHotLoss)
from tadfkd.registry import MODELS
from tadfkd.structures import TeacherOutput


def softmax(row: list[float]) -> list[float]:
    exponentials = [math.exp(x - max(row)) for x in row]
    return [value / sum(exponentials) for value in exponentials]


def one_hot_by_hand(logits_BK: Tensor, labels: list[int]) -> float:
    rows = logits_BK.tolist()
    return -sum(
        math.log(softmax(row)[label])
        for row, label in zip(rows, labels)) / len(rows)


def balance_by_hand(logits_BK: Tensor, base: float) -> float:
    rows = [softmax(row) for row in logits_BK.tolist()]
    means = [sum(column) / len(rows) for column in zip(*rows)]
    return sum(p * math.log(p, base) for p in means)


@pytest.fixture
def logits_BK() -> Tensor:
    """Seven rows of five classes."""
    return 3 * torch.randn(7, 5)


def test_with_labels_it_is_the_cross_entropy_of_them(
        logits_BK: Tensor) -> None:
    labels = [0, 1, 2, 3, 4, 0, 2]
    # Some are not what the teacher says itself.
    assert labels != logits_BK.argmax(1).tolist()
    found = OneHotLoss(loss_weight=2)(logits_BK, torch.tensor(labels))
    assert found.item() == pytest.approx(
        2 * one_hot_by_hand(logits_BK, labels), rel=1e-5)


def test_without_labels_it_is_that_of_the_teachers_own_answer(
        logits_BK: Tensor) -> None:
    own = [row.index(max(row)) for row in logits_BK.tolist()]
    assert OneHotLoss()(logits_BK).item() == pytest.approx(
        one_hot_by_hand(logits_BK, own), rel=1e-5)
    # Lower than with any other labels.
    other = [(label + 1) % 5 for label in own]
    assert OneHotLoss()(logits_BK) < OneHotLoss()(logits_BK,
                                                  torch.tensor(other))


@pytest.mark.parametrize('log_base, base', [('e', math.e), ('10', 10)])
def test_balance_is_the_negative_entropy_of_the_mean_prediction(
        logits_BK: Tensor, log_base: str, base: float) -> None:
    found = ClassBalanceLoss(log_base, loss_weight=5)(logits_BK)
    assert found.item() == pytest.approx(
        5 * balance_by_hand(logits_BK, base), rel=1e-5)


@pytest.mark.parametrize('log_base, lowest', [('e', -math.log(5)),
                                              ('10', -math.log10(5))])
def test_balance_is_lowest_where_every_class_occurs_equally(
        log_base: str, lowest: float) -> None:
    loss = ClassBalanceLoss(log_base)
    # Each sample sure of a class of its own, and every one unsure: the mean
    # is the same.
    for logits_BK in (1e3 * torch.eye(5), torch.zeros(2, 5)):
        assert loss(logits_BK).item() == pytest.approx(lowest)
    one_class_BK = torch.tensor([[1e3, 0.0, 0.0, 0.0, 0.0]]).repeat(4, 1)
    assert loss(one_class_BK).item() == pytest.approx(0, abs=1e-30)


def test_balance_has_finite_gradients_where_a_class_never_occurs() -> None:
    logits_BK = torch.tensor([[1e4, 0.0, 3.0], [0.0, 1e4, 3.0]],
                             requires_grad=True)
    loss = ClassBalanceLoss()(logits_BK)
    loss.backward()
    assert loss.isfinite()
    assert logits_BK.grad is not None and logits_BK.grad.isfinite().all()


def test_activation_is_the_negative_mean_magnitude() -> None:
    features_BF = torch.tensor([[1.0, -2.0, 3.0], [0.0, 4.0, -5.0]])
    assert ActivationLoss(loss_weight=0.5)(features_BF).item() \
        == pytest.approx(-0.5 * 15 / 6)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(logits_BK: Tensor,
                                               dtype: torch.dtype) -> None:
    half_BK = logits_BK.to(dtype)
    for loss in (OneHotLoss(), ClassBalanceLoss(), ActivationLoss()):
        assert loss(half_BK).dtype == torch.float32
        assert loss(half_BK) == loss(half_BK.float())


def test_the_prior_is_its_three_terms_with_their_weights(
        logits_BK: Tensor) -> None:
    features_BF = torch.randn(7, 4)
    prior = MODELS.build(
        dict(type='ClassPrior', one_hot=0.5, balance=20.0, activation=0.1))
    assert prior.reads_features
    terms = prior(TeacherOutput(logits_BK, features_BF))
    own = [row.index(max(row)) for row in logits_BK.tolist()]
    magnitudes = [abs(x) for row in features_BF.tolist() for x in row]
    expected = dict(
        one_hot=0.5 * one_hot_by_hand(logits_BK, own),
        # The released code's logarithm unless one asks for the other.
        balance=20 * balance_by_hand(logits_BK, 10),
        activation=-0.1 * sum(magnitudes) / len(magnitudes))
    assert {
        name: term.item()
        for name, term in terms.items()
    } == pytest.approx(
        expected, rel=1e-5)


def test_the_prior_takes_the_classes_that_were_wanted(
        logits_BK: Tensor) -> None:
    prior = ClassPrior(one_hot=1.0, balance=2.0, activation=0.0, log_base='e')
    labels = [4, 3, 2, 1, 0, 1, 2]
    terms = prior(TeacherOutput(logits_BK), torch.tensor(labels))
    assert terms['one_hot'].item() == pytest.approx(
        one_hot_by_hand(logits_BK, labels), rel=1e-5)
    assert terms['balance'].item() == pytest.approx(
        2 * balance_by_hand(logits_BK, math.e), rel=1e-5)


@pytest.mark.parametrize('kept', ['one_hot', 'balance', 'activation'])
def test_a_term_without_weight_is_left_out(logits_BK: Tensor,
                                           kept: str) -> None:
    weights = dict(one_hot=0.0, balance=0.0, activation=0.0) | {kept: 1.0}
    prior = ClassPrior(**weights)
    # Features cost a hook in the teacher, so only one term asks for them.
    assert prior.reads_features == (kept == 'activation')
    features_BF = torch.randn(7, 4) if prior.reads_features else None
    assert set(prior(TeacherOutput(logits_BK, features_BF))) == {kept}


def test_a_prior_without_any_weight_has_no_terms(logits_BK: Tensor) -> None:
    prior = ClassPrior(one_hot=0.0, balance=0.0, activation=0.0)
    assert prior(TeacherOutput(logits_BK)) == {}


@pytest.mark.parametrize('base', ['2', 10, None])
def test_another_logarithm_is_refused(base: object) -> None:
    for kind in (ClassBalanceLoss, ClassPrior):
        with pytest.raises(UserError, match='set log_base') as caught:
            kind(log_base=base)
        assert f'got {base!r}' in str(caught.value)


@pytest.mark.parametrize('term', ['one_hot', 'balance', 'activation'])
def test_a_negative_weight_is_refused(term: str) -> None:
    with pytest.raises(UserError, match='loss_weight must be .*got -1'):
        ClassPrior(**{term: -1.0})
