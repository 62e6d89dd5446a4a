"""Weights that give each loss its share of the gradient."""
import pytest
import torch
from torch import Tensor

from tadfkd.algorithms.calibration import CalibratedWeights
from tadfkd.errors import UserError


def losses_of(images_BCHW: Tensor) -> dict[str, Tensor]:
    """Means over images whose gradients at an image have known norms."""
    flat_BN = images_BCHW.flatten(1)
    first_B = torch.zeros(len(flat_BN))
    first_B[:2] = 1
    return dict(
        # 16 pixels, each with a slope of 3.
        strong=3 * flat_BN.sum(1).mean(),
        weak=1e-3 * flat_BN[:, 0].mean(),
        # Acts on two of the images only.
        masked=(first_B * flat_BN[:, 0]).mean(),
        tiny=1e-9 * flat_BN[:, 0].mean(),
        flat=(0 * flat_BN).mean(),
        constant=torch.tensor(7.0))


def found(**shares: float) -> CalibratedWeights:
    weights = CalibratedWeights(shares)
    weights.find(losses_of, torch.rand(10, 1, 4, 4))
    return weights


def test_each_loss_has_its_share_of_the_first_ones_gradient() -> None:
    weights = found(strong=1.0, weak=0.5, masked=2.0).weights
    assert weights['strong'] == pytest.approx(1.0)
    assert weights['masked'] == pytest.approx(2 * 12 / 1)
    # It would be 6000.
    assert weights['weak'] == 1000.0
    assert found(weak=1.0, strong=0.5).weights['strong'] == 0.01


def test_the_unit_is_the_first_loss_at_its_share() -> None:
    one = found(strong=1.0, masked=1.0).weights
    other = found(strong=4.0, masked=4.0).weights
    assert one == pytest.approx(other)


@pytest.mark.parametrize('name', ['flat', 'constant'])
def test_a_loss_without_gradient_keeps_its_weight(name: str) -> None:
    assert found(strong=1.0, **{name: 0.3}).weights[name] == 1.0


def test_a_loss_that_does_not_exist_and_a_dead_unit_are_refused() -> None:
    with pytest.raises(UserError, match='names week, and the losses are'):
        found(strong=1.0, week=1.0)
    with pytest.raises(UserError, match='names bn, and the losses are'):
        found(bn=1.0)
    with pytest.raises(UserError, match='the loss flat has a gradient of 0'):
        found(flat=1.0, strong=1.0)


def test_losses_that_a_teacher_lacks_are_left_out() -> None:
    weights = found(strong=1.0, bn=1.0, masked=1.0)
    assert set(weights.weights) == {'strong', 'masked'}
    losses = dict(strong=torch.tensor(2.0), other=torch.tensor(5.0))
    assert weights.applied(losses) == dict(strong=2.0, other=5.0)


def test_a_share_must_be_positive() -> None:
    with pytest.raises(UserError, match='loss_shares'):
        CalibratedWeights(dict(strong=1.0, weak=0.0))
    with pytest.raises(UserError, match='loss_shares must name'):
        CalibratedWeights({})
