"""Mixtures of images, and augmentations in turn."""
import numpy as np
import pytest
import torch
from torch import Tensor

from tadfkd.augmentations import AugmentationSequence, RandomMixup, RandomShift
from tadfkd.errors import UserError


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def one_hot(batch: int = 400) -> Tensor:
    """Image i is white at pixel i alone."""
    return torch.eye(batch).view(batch, 1, 20, 20)


@pytest.mark.parametrize('probability', [0.0, 0.5, 1.0])
def test_a_view_is_a_mixture_of_its_image_and_one_other(
        probability: float) -> None:
    shares_BN = RandomMixup(probability)(one_hot(), stream()).flatten(1)
    own_B = shares_BN.diagonal()
    torch.testing.assert_close(shares_BN.sum(1), torch.ones(400))
    assert ((shares_BN > 0).sum(1) <= 2).all() and (shares_BN >= 0).all()
    mixed = float((own_B < 1).float().mean())
    assert mixed == pytest.approx(probability, abs=0.1)
    # Each image is the other one at most once.
    others_BN = shares_BN - torch.diag(own_B)
    assert ((others_BN > 0).sum(0) <= 1).all()


@pytest.mark.parametrize('concentration', [0.3, 1.0, 5.0])
def test_the_shares_are_of_a_beta_distribution(concentration: float) -> None:
    shares_BN = RandomMixup(1.0, concentration)(one_hot(), stream()).flatten(1)
    weights = shares_BN.diagonal().numpy()
    # Of Beta(a, a).
    assert weights.mean() == pytest.approx(0.5, abs=0.06)
    assert weights.var() == pytest.approx(
        1 / (4 * (2 * concentration + 1)), rel=0.25)


def test_gradients_reach_both_images() -> None:
    images_BCHW = torch.rand(6, 1, 4, 4, requires_grad=True)
    RandomMixup(1.0)(images_BCHW, stream())[0].sum().backward()
    assert images_BCHW.grad is not None
    reached = int((images_BCHW.grad.flatten(1).sum(1) > 0).sum())
    assert reached == 2


def test_a_sequence_is_one_after_the_other() -> None:
    images_BCHW = torch.rand(5, 2, 4, 4)
    both = AugmentationSequence(
        [dict(type='RandomShift', max_pixels=2),
         dict(type='RandomMixup')])
    source = stream(3)
    shifted_BCHW = RandomShift(max_pixels=2)(images_BCHW, source)
    expected_BCHW = RandomMixup()(shifted_BCHW, source)
    assert both(images_BCHW, stream(3)).equal(expected_BCHW)
    assert not np.allclose(expected_BCHW, shifted_BCHW)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match=r'probability must be in \[0, 1\]'):
        RandomMixup(1.5)
    with pytest.raises(UserError, match='concentration'):
        RandomMixup(0.5, 0.0)
    with pytest.raises(UserError, match='augmentations must name'):
        AugmentationSequence([])
