"""The images at the lowest loss."""
from math import inf, nan

import pytest
import torch

from tadfkd.memory import BestImages


@pytest.mark.parametrize('losses, winner', [
    ([3, 1, 2], 1),
    ([2, 1, 1], 1),
    ([1, nan, 2], 0),
    ([nan, 5, 6], 1),
    ([inf, nan, 7], 2),
    ([nan, nan], 0),
    ([-inf, 8], 1),
    ([8, -inf], 0),
])
def test_the_images_of_the_lowest_finite_loss_are_kept(losses: list[float],
                                                       winner: int) -> None:
    best = BestImages()
    images_BCHW = torch.ones(2, 1, 2, 2, requires_grad=True)
    for index, loss in enumerate(losses):
        best.offer(index * images_BCHW, torch.tensor(float(loss)))
    assert best.images_BCHW.eq(winner).all()
    assert not best.images_BCHW.requires_grad
