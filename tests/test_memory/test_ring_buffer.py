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


def through_a_file(state: dict, path: Path) -> dict:
    torch.save(state, path)
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize('memory_mapped', [False, True])
@pytest.mark.parametrize(
    'counts',
    [[1], [3], [7], [3, 4], [5, 5, 5], [7, 7], [23], [2, 30, 1], [0, 3]])
def test_the_newest_rows_are_kept_the_oldest_first(
        counts: list[int], memory_mapped: bool) -> None:
    buffer = RingBuffer(7, memory_mapped)
    made = 0
    assert len(buffer) == 0
    for count in counts:
        buffer.add(numbered(made, made + count))
        made += count
        if made:
            assert len(buffer) == min(7, made)
            assert ids(buffer.rows()) == list(range(max(0, made - 7), made))


def test_samples_are_drawn_from_all_rows_that_are_stored_and_no_others(
) -> None:
    buffer = RingBuffer(8)
    buffer.add(numbered(0, 5))
    drawn = ids(buffer.sample(1000, stream()))
    # 200 are expected of each, with a standard deviation of 13.
    assert {
        number: drawn.count(number) > 140
        for number in drawn
    } == dict.fromkeys(range(5), True)
    buffer.add(numbered(5, 12))
    drawn = ids(buffer.sample(1000, stream()))
    assert {
        number: drawn.count(number) > 80
        for number in drawn
    } == dict.fromkeys(range(4, 12), True)


def test_the_stream_alone_decides_on_samples() -> None:
    buffer = RingBuffer(100)
    buffer.add(numbered(0, 100))
    before = torch.get_rng_state()
    one = buffer.sample(20, stream())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(buffer.sample(20, stream()), one)
    assert not torch.equal(buffer.sample(20, stream(1)), one)
    # More than there are: rows come again.
    assert len(buffer.sample(300, stream())) == 300


def test_what_is_stored_is_apart_from_what_was_given() -> None:
    buffer = RingBuffer(4)
    rows = numbered(0, 3).requires_grad_()
    buffer.add(rows * 1)
    assert not buffer.sample(2, stream()).requires_grad
    given = numbered(3, 4)
    buffer.add(given)
    given.fill_(-1)
    buffer.sample(4, stream()).fill_(-1)
    assert ids(buffer.rows()) == [0, 1, 2, 3]


@pytest.mark.parametrize('memory_mapped', [False, True])
@pytest.mark.parametrize('count', [0, 4, 7, 17])
def test_a_buffer_goes_on_exactly_after_a_restart(tmp_path: Path, count: int,
                                                  memory_mapped: bool) -> None:
    values = torch.randn(60, 2, 3)
    buffer, other = RingBuffer(7, memory_mapped), RingBuffer(7, memory_mapped)
    if count:
        buffer.add(values[:count])
    other.add(values[40:45])
    other.load_state_dict(
        through_a_file(buffer.state_dict(), tmp_path / 'buffer.pth'))
    assert len(other) == min(7, count)
    for start in (20, 23, 28):
        if len(buffer):
            assert torch.equal(other.rows(), buffer.rows())
            assert torch.equal(
                other.sample(9, stream()), buffer.sample(9, stream()))
        buffer.add(values[start:start + 3])
        other.add(values[start:start + 3])
    assert torch.equal(other.rows(), buffer.rows())
    torch.testing.assert_close(
        other.state_dict(), buffer.state_dict(), rtol=0, atol=0)


def test_a_state_does_not_change_with_the_buffer() -> None:
    buffer = RingBuffer(4)
    buffer.add(numbered(0, 3))
    state = buffer.state_dict()
    buffer.add(numbered(3, 9))
    other = RingBuffer(4)
    for _ in range(2):
        other.load_state_dict(state)
        assert ids(other.rows()) == [0, 1, 2]
        other.add(numbered(3, 9))


def test_a_saved_buffer_is_no_larger_than_what_it_holds(
        tmp_path: Path) -> None:
    buffer = RingBuffer(10_000)
    buffer.add(numbered(0, 3))
    torch.save(buffer.state_dict(), tmp_path / 'buffer.pth')
    # 10000 rows would take 240 kB.
    assert (tmp_path / 'buffer.pth').stat().st_size < 5_000


@pytest.mark.parametrize('saved, count, loaded', [
    (8, 20, 7),
    (8, 8, 16),
    (8, 19, 16),
    (8, 5, 4),
])
def test_another_capacity_that_the_rows_do_not_fit_is_refused(
        saved: int, count: int, loaded: int) -> None:
    buffer = RingBuffer(saved)
    buffer.add(numbered(0, count))
    with pytest.raises(
            UserError,
            match=f'holds {min(saved, count)} stored samples.*'
            f'than {loaded}: resume with the capacity'):
        RingBuffer(loaded).load_state_dict(buffer.state_dict())


def test_a_cleared_buffer_fills_again() -> None:
    buffer = RingBuffer(4)
    buffer.add(numbered(0, 7))
    buffer.clear()
    assert len(buffer) == 0 and buffer.state_dict() == {}
    buffer.add(numbered(20, 22))
    assert ids(buffer.rows()) == [20, 21]
    assert set(ids(buffer.sample(50, stream()))) == {20, 21}


def test_drawing_from_an_empty_buffer_is_a_mistake_of_ours() -> None:
    buffer = RingBuffer(4)
    for draw in (buffer.rows, lambda: buffer.sample(1, stream())):
        with pytest.raises(AssertionError, match='nothing stored'):
            draw()
    buffer.add(numbered(0, 1))
    with pytest.raises(AssertionError):
        buffer.add(torch.zeros(1, 5))


@pytest.mark.parametrize('dtype', [torch.float32, torch.uint8, torch.bfloat16])
def test_a_mapped_buffer_equals_one_in_memory(dtype: torch.dtype) -> None:
    here, mapped = RingBuffer(5), RingBuffer(5, memory_mapped=True)
    for count in (2, 4, 1, 9):
        rows = (255 * torch.rand(count, 3, 2)).to(dtype)
        for buffer in (here, mapped):
            buffer.add(rows)
        assert mapped.rows().dtype == dtype
        assert torch.equal(mapped.rows(), here.rows())
        assert torch.equal(
            mapped.sample(6, stream()), here.sample(6, stream()))


def test_a_mapped_buffer_leaves_no_file_and_shares_nothing(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    # Of another run: what it left must not be read.
    (tmp_path / 'tadfkd_').write_bytes(b'\x40' * 400)
    one, other = (RingBuffer(4, memory_mapped=True) for _ in range(2))
    one.add(numbered(0, 4))
    other.add(numbered(50, 52))
    # Already while they are in use.
    assert [path.name for path in tmp_path.iterdir()] == ['tadfkd_']
    one.add(numbered(4, 5))
    assert ids(one.rows()) == [1, 2, 3, 4]
    assert ids(other.rows()) == [50, 51]
    # Mapped they are, though: no copy lies in anonymous memory.
    maps = Path('/proc/self/maps')
    if maps.exists():
        mine = [
            line for line in maps.read_text().splitlines()
            if str(tmp_path) in line
        ]
        assert len(mine) == 2
        assert all(line.endswith('(deleted)') for line in mine)


@pytest.mark.parametrize('capacity', [0, -1, 2.5, '8', None])
def test_a_capacity_that_is_no_count_names_the_field(capacity: object) -> None:
    with pytest.raises(
            UserError, match='capacity must be .*set model.bank.capacity'):
        RingBuffer(capacity, owner='model.bank')


@pytest.mark.parametrize('bad', [torch.nan, torch.inf, -torch.inf])
def test_rows_that_are_not_finite_are_not_stored(bad: float) -> None:
    buffer = RingBuffer(4)
    rows = numbered(0, 3)
    rows[1, 0, 2] = bad
    buffer.add(rows)
    assert ids(buffer.rows()) == [0, 2]
    buffer.add(torch.full((2, 2, 3), bad))
    assert ids(buffer.rows()) == [0, 2]
    empty = RingBuffer(4)
    empty.add(torch.full((2, 2, 3), bad))
    assert len(empty) == 0 and empty.state_dict() == {}
