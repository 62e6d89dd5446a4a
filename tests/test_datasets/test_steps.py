"""Training iterates over steps."""
import pytest

from tadfkd.datasets import StepDataset
from tadfkd.errors import UserError


def test_an_epoch_has_as_many_items_as_steps() -> None:
    dataset = StepDataset(5)
    assert len(dataset) == 5
    assert list(dataset) == [dataset[i] for i in range(5)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize('num_steps', [0, 2.5, '3'])
def test_fewer_than_one_step_is_a_user_error(num_steps: object) -> None:
    with pytest.raises(
            UserError, match='train_dataloader.dataset.num_steps') as error:
        StepDataset(num_steps)
    assert repr(num_steps) in str(error.value)
