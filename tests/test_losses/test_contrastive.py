"""InfoNCE by loops over queries and keys."""
import math

import pytest
import torch
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.losses import InfoNCELoss
from tadfkd.registry import MODELS


def by_hand(queries_BF: Tensor, keys_NF: Tensor, temperature: float) -> float:
    """mean_i -log( exp(q_i k_i / t) / sum_j exp(q_i k_j / t) )."""

    def similarity(a: list[float], b: list[float]) -> float:
        product = sum(x * y for x, y in zip(a, b))
        return product / math.sqrt(sum(x * x for x in a)) / math.sqrt(
            sum(y * y for y in b))

    queries, keys = queries_BF.tolist(), keys_NF.tolist()
    total = 0.0
    for i, query in enumerate(queries):
        powers = [
            math.exp(similarity(query, key) / temperature) for key in keys
        ]
        total -= math.log(powers[i] / sum(powers))
    return total / len(queries)


@pytest.mark.parametrize('temperature', [0.1, 0.2, 2.0])
@pytest.mark.parametrize('num_negatives', [0, 6])
def test_it_agrees_with_its_definition(temperature: float,
                                       num_negatives: int) -> None:
    queries_BF = 4 * torch.randn(5, 8)
    keys_NF = torch.cat(
        (queries_BF + torch.randn(5, 8), torch.randn(num_negatives, 8)))
    loss = MODELS.build(
        dict(type='InfoNCELoss', temperature=temperature, loss_weight=0.8))
    assert loss(queries_BF, keys_NF).item() == pytest.approx(
        0.8 * by_hand(queries_BF, keys_NF, temperature), rel=1e-4)


def test_the_lengths_of_embeddings_do_not_count() -> None:
    queries_BF, keys_NF = torch.randn(4, 6), torch.randn(7, 6)
    loss = InfoNCELoss()
    torch.testing.assert_close(
        loss(queries_BF, keys_NF),
        loss(queries_BF * torch.tensor([[0.1], [1.0], [7.0], [90.0]]),
             30 * keys_NF))


def test_further_keys_are_negatives_and_never_positives() -> None:
    queries_BF = torch.eye(4)[:2]
    keys_NF = torch.eye(4)[:2]
    loss = InfoNCELoss(temperature=1.0)
    # One other key at a right angle, then two of them.
    assert loss(queries_BF,
                keys_NF).item() == pytest.approx(math.log(1 + math.exp(-1)))
    assert loss(queries_BF,
                torch.eye(4)[:3]).item() == pytest.approx(
                    math.log(1 + 2 * math.exp(-1)))
    # A negative that is the query itself is as likely as its positive.
    assert loss(queries_BF[:1],
                torch.eye(4)[[0, 0]]).item() == pytest.approx(math.log(2))


def test_gradients_reach_queries_keys_and_negatives() -> None:
    queries_BF = torch.randn(3, 4, requires_grad=True)
    keys_NF = torch.randn(5, 4, requires_grad=True)
    InfoNCELoss()(queries_BF, keys_NF).backward()
    for tensor in (queries_BF, keys_NF):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
    # A step along the loss' negative gradient draws the pairs together.
    with torch.no_grad():
        closer = InfoNCELoss()(queries_BF - 0.01 * queries_BF.grad,
                               keys_NF - 0.01 * keys_NF.grad)
    assert closer < InfoNCELoss()(queries_BF, keys_NF)


def test_half_precision_is_computed_in_float32() -> None:
    queries_BF, keys_NF = torch.randn(2, 6, 8, dtype=torch.bfloat16)
    found = InfoNCELoss()(queries_BF, keys_NF)
    assert found.dtype == torch.float32
    assert found == InfoNCELoss()(queries_BF.float(), keys_NF.float())


@pytest.mark.parametrize('temperature', [0, -0.1, float('nan'), '1'])
def test_a_temperature_that_is_not_positive_is_refused(
        temperature: object) -> None:
    with pytest.raises(
            UserError, match='temperature must be .*set the InfoNCELoss'):
        InfoNCELoss(temperature)
