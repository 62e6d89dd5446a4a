"""InfoNCE against NumPy in float64."""
import math

import equations
import pytest
import torch

from tadfkd.errors import UserError
from tadfkd.losses import InfoNCELoss


@pytest.mark.parametrize('temperature', [0.1, 0.2, 2.0])
@pytest.mark.parametrize('num_negatives', [0, 6])
def test_it_agrees_with_its_definition(temperature: float,
                                       num_negatives: int) -> None:
    queries_BF = 4 * torch.randn(5, 8)
    keys_NF = torch.cat(
        (queries_BF + torch.randn(5, 8), torch.randn(num_negatives, 8)))
    expected = equations.info_nce(queries_BF.double().numpy(),
                                  keys_NF.double().numpy(), temperature)
    loss = InfoNCELoss(temperature, loss_weight=0.8)
    assert loss(queries_BF, keys_NF).item() == pytest.approx(
        0.8 * expected, rel=1e-4)
    # The length of an embedding does not count.
    torch.testing.assert_close(
        loss(90 * queries_BF, 0.1 * keys_NF), loss(queries_BF, keys_NF))


def test_further_keys_are_negatives_and_never_positives() -> None:
    queries_BF = torch.eye(4)[:2]
    # Two other keys at a right angle.
    assert InfoNCELoss()(queries_BF, torch.eye(4)[:3]).item() == pytest.approx(
        math.log(1 + 2 * math.exp(-1)))
    # A negative that is the query itself is as likely as its positive.
    assert InfoNCELoss()(queries_BF[:1],
                         torch.eye(4)[[0, 0]]).item() == pytest.approx(
                             math.log(2))


def test_half_precision_is_computed_in_float32() -> None:
    queries_BF, keys_NF = torch.randn(2, 6, 8, dtype=torch.bfloat16)
    found = InfoNCELoss()(queries_BF, keys_NF)
    assert found.dtype == torch.float32
    assert found == InfoNCELoss()(queries_BF.float(), keys_NF.float())


@pytest.mark.parametrize('temperature', [0, -0.1, float('nan')])
def test_a_temperature_that_is_not_positive_is_refused(
        temperature: float) -> None:
    with pytest.raises(
            UserError, match='temperature must be .*set the InfoNCELoss'):
        InfoNCELoss(temperature)
