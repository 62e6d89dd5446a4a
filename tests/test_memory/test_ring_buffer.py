"""The newest rows, in order, in bounded memory, across restarts."""
import tempfile
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.memory import RingBuffer


def numbered(start: int, stop: int) -> Tensor:
    """Row i holds i."""
    return torch.arange(start, stop).float()[:, None, None].repeat(1, 2, 3)


def ids(rows: Tensor) -> list[int]:
    assert (rows == rows[:, :1, :1]).all()
    return rows[:, 0, 0].int().tolist()


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize('memory_mapped', [False, True])
@pytest.mark.parametrize(
    'counts', [[3], [7], [3, 4], [5, 5, 5], [7, 7], [23], [2, 30, 1], [0, 3]])
def test_the_newest_rows_are_kept_the_oldest_first(
        counts: list[int], memory_mapped: bool) -> None:
    buffer = RingBuffer(7, memory_mapped)
    made = 0
    for count in counts:
        buffer.add(numbered(made, made + count))
        made += count
        assert len(buffer) == min(7, made)
        if made:
            assert ids(buffer.rows()) == list(range(max(0, made - 7), made))


@pytest.mark.parametrize('added, stored', [(5, range(5)), (12, range(4, 12))])
def test_samples_are_drawn_uniformly_from_the_stored_rows(
        added: int, stored: range) -> None:
    buffer = RingBuffer(8)
    buffer.add(numbered(0, added))
    drawn = buffer.sample(1000, stream())
    assert torch.equal(buffer.sample(1000, stream()), drawn)
    assert not torch.equal(buffer.sample(1000, stream(1)), drawn)
    counts = torch.bincount(torch.tensor(ids(drawn)))
    assert counts.nonzero().flatten().tolist() == [*stored]
    # Below 0.65 of what is expected is five standard deviations away.
    assert counts[counts > 0].min() > 0.65 * 1000 / len(stored)


@pytest.mark.parametrize('added, stored', [(5, range(5)), (8, range(8)),
                                           (12, range(4, 12))])
def test_distinct_samples_are_drawn_without_replacement(
        added: int, stored: range) -> None:
    buffer = RingBuffer(8)
    buffer.add(numbered(0, added))
    source = stream()
    every = [ids(buffer.sample_distinct(20, source)) for _ in range(200)]
    assert all(sorted(drawn) == [*stored] for drawn in every)
    few = [ids(buffer.sample_distinct(3, source)) for _ in range(400)]
    assert all(len({*drawn}) == 3 for drawn in few)
    counts = torch.bincount(torch.tensor(few).flatten())[stored.start:]
    # Each row is in 3 of ``len(stored)`` draws.
    assert counts.min() > 0.65 * 1200 / len(stored)
    assert torch.equal(
        buffer.sample_distinct(3, stream()),
        buffer.sample_distinct(3, stream()))


def test_stored_rows_share_no_memory_or_graph_with_others() -> None:
    buffer = RingBuffer(4)
    given = numbered(0, 4).requires_grad_()
    buffer.add(given * 1)
    assert not buffer.sample(2, stream()).requires_grad
    buffer.add(given)
    given.data.fill_(-1)
    buffer.sample(4, stream()).fill_(-1)
    assert ids(buffer.rows()) == [0, 1, 2, 3]


@pytest.mark.parametrize('count', [0, 4, 7, 17])
def test_a_buffer_is_saved_exactly(tmp_path: Path, count: int) -> None:
    values = torch.randn(60, 2, 3)
    buffer, other = RingBuffer(7), RingBuffer(7, memory_mapped=True)
    buffer.add(values[:count])
    other.add(values[40:45])
    torch.save(buffer.state_dict(), tmp_path / 'buffer.pth')
    other.load_state_dict(
        torch.load(tmp_path / 'buffer.pth', weights_only=True))
    assert len(other) == min(7, count)
    for start in (20, 23, 28):
        for each in (buffer, other):
            each.add(values[start:start + 3])
        assert torch.equal(other.rows(), buffer.rows())
        assert torch.equal(
            other.sample(9, stream()), buffer.sample(9, stream()))


def test_a_state_is_small_and_does_not_change_with_the_buffer(
        tmp_path: Path) -> None:
    buffer, other = RingBuffer(10_000), RingBuffer(10_000)
    buffer.add(numbered(0, 3))
    state = buffer.state_dict()
    torch.save(state, tmp_path / 'buffer.pth')
    # 10000 rows would take 240 kB.
    assert (tmp_path / 'buffer.pth').stat().st_size < 5_000
    other.load_state_dict(state)
    for changed in (buffer, other):
        changed.clear()
        changed.add(numbered(3, 9))
    other.load_state_dict(state)
    assert ids(other.rows()) == [0, 1, 2]


@pytest.mark.parametrize('saved, count, loaded', [(8, 20, 7), (8, 19, 16),
                                                  (8, 5, 4)])
def test_another_capacity_that_the_rows_do_not_fit_is_refused(
        saved: int, count: int, loaded: int) -> None:
    buffer = RingBuffer(saved)
    buffer.add(numbered(0, count))
    with pytest.raises(
            UserError,
            match=f'holds {min(saved, count)} stored samples.*'
            f'than {loaded}: resume with the capacity'):
        RingBuffer(loaded).load_state_dict(buffer.state_dict())


def test_a_mapped_buffer_leaves_no_file_and_shares_nothing(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    # Another run left this file, which must not be read.
    (tmp_path / 'tadfkd_').write_bytes(b'\x40' * 400)
    one, other = (RingBuffer(4, memory_mapped=True) for _ in range(2))
    one.add(numbered(0, 4))
    other.add(numbered(50, 52))
    # No file has a name, even while the buffers are in use.
    assert [path.name for path in tmp_path.iterdir()] == ['tadfkd_']
    one.add(numbered(4, 5))
    assert ids(one.rows()) == [1, 2, 3, 4]
    assert ids(other.rows()) == [50, 51]


@pytest.mark.parametrize('bad', [torch.nan, torch.inf, -torch.inf])
def test_rows_that_are_not_finite_are_not_stored(bad: float) -> None:
    buffer = RingBuffer(4)
    rows = numbered(0, 3)
    buffer.add(torch.full_like(rows, bad))
    assert len(buffer) == 0 and buffer.state_dict() == {}
    rows[1, 0, 2] = bad
    buffer.add(rows)
    assert ids(buffer.rows()) == [0, 2]


@pytest.mark.parametrize('made', [3, 7, 10])
def test_rows_are_taken_by_age(made: int) -> None:
    buffer = RingBuffer(7)
    buffer.add(numbered(0, 2))
    buffer.add(numbered(2, made))
    oldest = max(0, made - 7)
    assert ids(buffer.take(torch.tensor(
        [0, 1, -1, -2]))) == [oldest, oldest + 1, made - 1, made - 2]
