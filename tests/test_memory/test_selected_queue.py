"""Selected samples are taken in order, once, and survive a restart."""
from pathlib import Path

import pytest
import torch

from tadfkd.memory import SelectedQueue
from tadfkd.structures import SyntheticBatch

CPU = torch.device('cpu')


def numbered(start: int, stop: int) -> SyntheticBatch:
    ids_B = torch.arange(start, stop)
    images_BCHW = (ids_B.float()[:, None, None, None] / 100).requires_grad_()
    return SyntheticBatch(
        images_BCHW.repeat(1, 3, 4, 4),
        augmented_BCHW=images_BCHW.repeat(1, 3, 4, 4) + 1,
        teacher_logits_BK=ids_B.float()[:, None].repeat(1, 5))


def ids(batch: SyntheticBatch) -> list[int]:
    assert not batch.images_BCHW.requires_grad
    assert torch.equal(batch.augmented_BCHW, batch.images_BCHW + 1)
    return batch.teacher_logits_BK[:, 0].int().tolist()


def test_nothing_is_lost_doubled_or_reordered_over_many_steps() -> None:
    queue, stream = SelectedQueue(), torch.Generator().manual_seed(0)
    batch_size, made, taken = 16, 0, []
    for _ in range(30):
        while len(queue) < batch_size:
            # As many as a selector may select from a batch.
            count = int(torch.randint(1, 17, (), generator=stream))
            queue.add(numbered(made, made + count))
            made += count
        taken += ids(queue.take(batch_size))
        assert len(queue) < batch_size
        # The memory of samples that were taken is free again.
        waiting = vars(queue)['_waiting'].images_BCHW
        assert waiting.untyped_storage().nbytes() \
            < 2 * batch_size * 3 * 4 * 4 * waiting.element_size()
    assert taken == list(range(len(taken)))
    assert made == len(taken) + len(queue)


@pytest.mark.parametrize('added, taken', [(6, 2), (2, 2), (0, 0)])
def test_a_queue_is_saved_exactly(tmp_path: Path, added: int,
                                  taken: int) -> None:
    queue, other = SelectedQueue(), SelectedQueue()
    if added:
        queue.add(numbered(0, added))
        queue.take(taken)
    state = queue.state_dict()
    torch.save(state, tmp_path / 'queue.pth')
    other.add(numbered(50, 60))
    other.load_state_dict(
        torch.load(tmp_path / 'queue.pth', weights_only=True), CPU)
    assert len(other) == added - taken
    for each in (queue, other):
        each.add(numbered(added, 8))
        assert ids(each.take(8 - taken)) == list(range(taken, 8))
    # A state does not change with its queue. It is loaded to any device.
    other.load_state_dict(state, torch.device('meta'))
    assert len(other) == added - taken
    if len(other):
        assert other.take(1).images_BCHW.device.type == 'meta'


def test_a_saved_queue_is_no_larger_than_what_waits(tmp_path: Path) -> None:
    queue = SelectedQueue()
    queue.add(numbered(0, 2000))
    queue.take(1999)
    path = tmp_path / 'queue.pth'
    torch.save(queue.state_dict(), path)
    # One of 2000 samples of 400 bytes is left.
    assert path.stat().st_size < 10_000
