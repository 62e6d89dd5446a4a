"""Training iterates over steps."""
import pytest
from mmengine.dataset import DefaultSampler

from tadfkd.datasets import StepDataset, StepSampler
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


def test_every_process_gets_every_step(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda:
                        (1, 2))
    dataset = StepDataset(4)
    sampler = StepSampler(dataset, seed=3)
    # What mmengine's sampler would make of it in the second of two.
    assert len(DefaultSampler(dataset)) == 2
    assert len(sampler) == 4
    assert list(sampler) == list(sampler) == [0, 1, 2, 3]
