"""The weight that every loss has."""
import pytest
import torch

from tadfkd.errors import UserError
from tadfkd.losses import (BaseLoss, BNStatisticsLoss, ImageL2Loss, JSLoss,
                           KLLoss, L1Loss, PixelStatisticsLoss,
                           TotalVariationLoss)
from tadfkd.structures import BNStatistics

LOSSES = [
    L1Loss, KLLoss, JSLoss, BNStatisticsLoss, ImageL2Loss, TotalVariationLoss,
    PixelStatisticsLoss
]


def value_of(loss: BaseLoss) -> torch.Tensor:
    """The loss of fixed random inputs of the right kind."""
    stream = torch.Generator().manual_seed(3)
    if isinstance(loss, L1Loss | KLLoss | JSLoss):
        return loss(
            torch.randn(4, 5, generator=stream),
            torch.randn(4, 5, generator=stream))
    if isinstance(loss, BNStatisticsLoss):
        vectors_4F = torch.randn(4, 6, generator=stream)
        return loss([BNStatistics(*vectors_4F)])
    return loss(torch.rand(2, 3, 4, 5, generator=stream))


@pytest.mark.parametrize('kind', LOSSES)
def test_the_weight_multiplies_the_loss(kind: type[BaseLoss]) -> None:
    plain = value_of(kind())
    assert plain > 0 and plain.shape == ()
    torch.testing.assert_close(value_of(kind(loss_weight=2.5)), 2.5 * plain)


@pytest.mark.parametrize('kind', LOSSES)
def test_a_weight_of_zero_is_allowed(kind: type[BaseLoss]) -> None:
    assert value_of(kind(loss_weight=0)) == 0


@pytest.mark.parametrize('weight', [-1.0, float('nan'), '1', True, None])
@pytest.mark.parametrize('kind', LOSSES)
def test_a_bad_weight_names_the_field_to_change(kind: type[BaseLoss],
                                                weight: object) -> None:
    with pytest.raises(UserError) as caught:
        kind(loss_weight=weight)
    message = str(caught.value)
    assert f'got {weight!r}' in message and '>= 0' in message
    assert f'{kind.__name__}.loss_weight' in message
