"""What a step of the lowest loss made."""
from math import inf, nan

import pytest
import torch

from tadfkd.memory import AtLowestLoss


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
def test_the_values_of_the_lowest_finite_loss_are_kept(losses: list[float],
                                                       winner: int) -> None:
    best = AtLowestLoss()
    values = torch.ones(2, 1, 2, 2, requires_grad=True)
    for index, loss in enumerate(losses):
        best.offer(index * values, torch.tensor(float(loss)))
    assert best.values.eq(winner).all()
    assert not best.values.requires_grad
