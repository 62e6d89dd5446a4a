"""The images at the lowest loss."""
import pytest
import torch

from tadfkd.algorithms.base import summed
from tadfkd.memory import BestImages


def offers(losses: list[list[float]]) -> BestImages:
    """Images of 0, 1, 2 ..., with these losses."""
    best = BestImages()
    for index, terms in enumerate(losses):
        total = summed({
            str(i): torch.tensor(term)
            for i, term in enumerate(terms)
        })
        best.offer(torch.full((2, 1, 2, 2), float(index)), total)
    return best


@pytest.mark.parametrize(
    'losses, winner',
    [
        ([[3.0], [1.0], [2.0]], 1),
        # The sum of the terms counts, negative ones included.
        ([[1.0, 5.0], [4.0, 1.5], [9.0, -4.0]], 2),
        # The first of equal ones.
        ([[2.0], [1.0], [1.0]], 1),
        ([[1.0], [float('nan')], [2.0]], 0),
        ([[float('nan')], [5.0], [6.0]], 1),
        ([[float('inf')], [float('nan')], [7.0]], 2),
        ([[float('nan')], [float('nan')]], 0),
        ([[float('-inf')], [8.0]], 1),
        ([[8.0], [float('-inf')]], 0),
    ])
def test_the_images_of_the_lowest_loss_are_kept(losses: list[list[float]],
                                                winner: int) -> None:
    assert offers(losses).images_BCHW.eq(winner).all()


def test_images_are_kept_without_their_graph() -> None:
    best = BestImages()
    images_BCHW = torch.rand(2, 1, 2, 2, requires_grad=True) * 2
    best.offer(images_BCHW, images_BCHW.sum())
    assert not best.images_BCHW.requires_grad
    best.offer(images_BCHW - 9, (images_BCHW - 9).sum())
    assert not best.images_BCHW.requires_grad
    torch.testing.assert_close(best.images_BCHW, images_BCHW.detach() - 9)
