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


def test_each_loss_has_its_share_of_the_gradient() -> None:
    weights = found(strong=1.0, weak=0.5, masked=2.0).weights
    assert weights['strong'] == pytest.approx(1.0)
    assert weights['masked'] == pytest.approx(2 * 12 / 1)
    # It would be 6000.
    assert weights['weak'] == 1000.0


def test_only_the_ratios_of_the_shares_count_and_not_their_order() -> None:
    one = found(strong=1.0, masked=2.0).weights
    assert one == pytest.approx(found(strong=4.0, masked=8.0).weights)
    # A config that is written to a file has sorted keys.
    assert one == found(masked=2.0, strong=1.0).weights


@pytest.mark.parametrize('name', ['flat', 'constant'])
def test_a_loss_without_gradient_keeps_its_weight(name: str) -> None:
    assert found(strong=1.0, **{name: 0.3}).weights[name] == 1.0


def test_losses_that_do_not_exist_or_have_no_gradient_are_refused() -> None:
    with pytest.raises(UserError, match='names week, and the losses are'):
        found(strong=1.0, week=1.0)
    with pytest.raises(UserError, match='names bn, and the losses are'):
        found(bn=1.0)
    with pytest.raises(UserError, match='no loss of loss_shares'):
        found(flat=1.0, constant=1.0)


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
