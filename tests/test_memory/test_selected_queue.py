"""Samples that wait come out in order, once, and survive a restart."""
from pathlib import Path

import pytest
import torch

from tadfkd.memory import SelectedQueue
from tadfkd.structures import SyntheticBatch

CPU = torch.device('cpu')


def numbered(start: int, stop: int) -> SyntheticBatch:
    ids_B = torch.arange(start, stop)
    images_BCHW = ids_B.float()[:, None, None, None] / 100
    return SyntheticBatch(
        images_BCHW.repeat(1, 3, 4, 4),
        augmented_BCHW=images_BCHW.repeat(1, 3, 4, 4) + 1,
        teacher_logits_BK=ids_B.float()[:, None].repeat(1, 5))


def ids(batch: SyntheticBatch) -> list[int]:
    assert batch.teacher_logits_BK is not None
    assert batch.augmented_BCHW is not None
    assert torch.equal(batch.augmented_BCHW, batch.images_BCHW + 1)
    return batch.teacher_logits_BK[:, 0].int().tolist()


def test_first_in_is_first_out() -> None:
    queue = SelectedQueue()
    assert len(queue) == 0
    queue.add(numbered(0, 3))
    queue.add(numbered(3, 8))
    assert ids(queue.take(2)) == [0, 1]
    queue.add(numbered(8, 9))
    assert len(queue) == 7
    assert ids(queue.take(7)) == [2, 3, 4, 5, 6, 7, 8]
    assert len(queue) == 0


def test_an_emptied_queue_fills_again() -> None:
    queue = SelectedQueue()
    queue.add(numbered(0, 2))
    queue.take(2)
    queue.add(numbered(5, 7))
    assert ids(queue.take(2)) == [5, 6]


def test_nothing_is_lost_or_doubled_over_many_steps() -> None:
    queue, stream = SelectedQueue(), torch.Generator().manual_seed(0)
    batch_size, made, taken = 16, 0, []
    for _ in range(30):
        while len(queue) < batch_size:
            # As many as a selector may let through of a batch.
            count = int(torch.randint(1, 17, (), generator=stream))
            queue.add(numbered(made, made + count))
            made += count
        taken += ids(queue.take(batch_size))
        assert len(queue) < batch_size
        # What was taken does not stay in memory behind what waits.
        waiting = vars(queue)['_waiting'].images_BCHW
        assert waiting.untyped_storage().nbytes() \
            < 2 * batch_size * 3 * 4 * 4 * waiting.element_size()
    assert taken == list(range(len(taken)))
    assert made == len(taken) + len(queue)


def test_taking_more_than_waits_is_a_mistake_of_ours() -> None:
    queue = SelectedQueue()
    with pytest.raises(AssertionError):
        queue.take(1)
    queue.add(numbered(0, 3))
    with pytest.raises(AssertionError, match='asked for 4 samples, 3 are'):
        queue.take(4)
    assert ids(queue.take(3)) == [0, 1, 2]


def test_waiting_samples_keep_no_graph() -> None:
    queue = SelectedQueue()
    leaf_BCHW = torch.rand(2, 3, 4, 4, requires_grad=True)
    queue.add(SyntheticBatch(leaf_BCHW * 2, augmented_BCHW=leaf_BCHW * 3))
    batch = queue.take(2)
    assert batch.images_BCHW.grad_fn is None
    assert batch.augmented_BCHW is not None
    assert not batch.augmented_BCHW.requires_grad


def through_a_file(state: dict, path: Path) -> dict:
    torch.save(state, path)
    return torch.load(path, weights_only=True)


def test_a_queue_goes_on_exactly_after_a_restart(tmp_path: Path) -> None:
    queue = SelectedQueue()
    queue.add(numbered(0, 3))
    queue.add(numbered(3, 6))
    queue.take(2)
    other = SelectedQueue()
    other.add(numbered(50, 60))
    other.load_state_dict(
        through_a_file(queue.state_dict(), tmp_path / 'queue.pth'), CPU)
    for either in (queue, other):
        either.add(numbered(6, 8))
    first, second = queue.take(6), other.take(6)
    assert ids(second) == [2, 3, 4, 5, 6, 7]
    assert torch.equal(first.images_BCHW, second.images_BCHW)
    assert second.labels_B is None


@pytest.mark.parametrize('emptied', [False, True])
def test_an_empty_queue_is_restored_as_one(tmp_path: Path,
                                           emptied: bool) -> None:
    queue, other = SelectedQueue(), SelectedQueue()
    if emptied:
        queue.add(numbered(0, 2))
        queue.take(2)
    other.add(numbered(50, 60))
    other.load_state_dict(
        through_a_file(queue.state_dict(), tmp_path / 'queue.pth'), CPU)
    assert len(other) == 0
    other.add(numbered(0, 1))
    assert ids(other.take(1)) == [0]


def test_a_saved_queue_is_no_larger_than_what_waits(tmp_path: Path) -> None:
    queue = SelectedQueue()
    queue.add(numbered(0, 2000))
    queue.take(1999)
    path = tmp_path / 'queue.pth'
    torch.save(queue.state_dict(), path)
    # Of 2000 samples of 400 bytes each, one is left.
    assert path.stat().st_size < 10_000


def test_a_state_does_not_change_with_the_queue() -> None:
    queue = SelectedQueue()
    queue.add(numbered(0, 4))
    state = queue.state_dict()
    queue.take(1).images_BCHW.fill_(-1)
    other = SelectedQueue()
    other.load_state_dict(state, CPU)
    assert ids(other.take(4)) == [0, 1, 2, 3]


def test_a_queue_goes_on_where_it_is_told_to() -> None:
    # Checkpoints are read to the CPU, whatever the device of a run.
    queue, other = SelectedQueue(), SelectedQueue()
    queue.add(numbered(0, 4))
    other.load_state_dict(queue.state_dict(), torch.device('meta'))
    assert other.take(4).images_BCHW.device.type == 'meta'
