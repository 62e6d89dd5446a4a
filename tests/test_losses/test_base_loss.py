"""The weight of every loss, and the four kinds."""
import pytest
import torch

from tadfkd import losses
from tadfkd.errors import UserError
from tadfkd.losses import (BaseLoss, ImageLoss, LabelLoss, LogitsLoss,
                           StatisticsLoss)
from tadfkd.structures import BNStatistics

#: What each kind is called with.
EXAMPLES = {
    LogitsLoss: (torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 3.0]])),
    LabelLoss: (torch.tensor([[1.0, 2.0]]), torch.tensor([0])),
    ImageLoss: (torch.rand(2, 3, 4, 5), ),
    StatisticsLoss: ([BNStatistics(*torch.rand(4, 6))], )
}
#: What must be given beside the weight.
ARGUMENTS: dict[type, dict] = {
    losses.LogitsLossSum: dict(losses=[dict(type='L1Loss')] * 2)
}
CASES = [(getattr(losses, name), kind) for name in losses.__all__
         for kind in EXAMPLES
         if issubclass(getattr(losses, name), kind) and name != kind.__name__]


@pytest.mark.parametrize('loss, kind', CASES)
def test_a_loss_fits_its_kind_and_the_weight_multiplies_it(
        loss: type[BaseLoss], kind: type[BaseLoss]) -> None:
    given = ARGUMENTS.get(loss, {})
    plain = loss(**given)(*EXAMPLES[kind])
    assert plain > 0 and plain.shape == ()
    torch.testing.assert_close(
        loss(**given, loss_weight=2.5)(*EXAMPLES[kind]), 2.5 * plain)
    assert loss(**given, loss_weight=0)(*EXAMPLES[kind]) == 0


@pytest.mark.parametrize('weight', [-1.0, float('nan'), '1', True, None])
def test_a_bad_weight_names_the_field_to_change(weight: object) -> None:
    with pytest.raises(UserError) as caught:
        losses.L1Loss(loss_weight=weight)
    message = str(caught.value)
    assert f'got {weight!r}' in message and '>= 0' in message
    assert 'L1Loss.loss_weight' in message
