"""Which checkpoint a run goes on from."""
import os
from pathlib import Path

import pytest
import torch

from tadfkd.checkpoints.resume_point import newest_intact
from tadfkd.errors import UserError


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    """Of a run that has saved three epochs and begun a fourth."""
    for name in ('epoch_2', 'epoch_9', 'epoch_10', 'epoch_10_step_4'):
        torch.save(
            dict(weights=torch.randn(40, 25), meta=dict(name=name)),
            tmp_path / f'{name}.pth')
    name_last(tmp_path, 'epoch_10_step_4.pth')
    return tmp_path


def name_last(work_dir: Path, name: str) -> None:
    """As the hook does."""
    (work_dir / 'last_checkpoint').write_text(str(work_dir / name))


def truncate(path: Path) -> None:
    """As a copy that was broken off."""
    os.truncate(path, path.stat().st_size * 2 // 3)


def empty(path: Path) -> None:
    """As some file systems leave a file after a power cut."""
    os.truncate(path, 0)


def flip_bit(path: Path) -> None:
    """In the middle, where the numbers are."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def zero_block(path: Path) -> None:
    """A sector that was never written."""
    content = bytearray(path.read_bytes())
    content[1024:1536] = bytes(512)
    path.write_bytes(content)


def test_the_newest_is_the_one_that_is_named(work_dir: Path) -> None:
    assert newest_intact(work_dir) == (work_dir / 'epoch_10_step_4.pth', [])
    # Not the one of the highest number: that may be of an earlier run.
    name_last(work_dir, 'epoch_9.pth')
    assert newest_intact(work_dir) == (work_dir / 'epoch_9.pth', [])


@pytest.mark.parametrize('damage', [truncate, empty, flip_bit, zero_block])
def test_a_damaged_one_falls_back_to_the_one_before(work_dir: Path,
                                                    damage) -> None:
    damage(work_dir / 'epoch_10_step_4.pth')
    path, [note] = newest_intact(work_dir)
    assert path == work_dir / 'epoch_10.pth'
    assert 'epoch_10_step_4.pth is damaged' in note
    assert 'resumes from an earlier one' in note

    damage(work_dir / 'epoch_10.pth')
    path, notes = newest_intact(work_dir)
    assert path == work_dir / 'epoch_9.pth'
    assert len(notes) == 2


def test_best_checkpoints_are_skipped_as_they_hold_no_optimiser(
        work_dir: Path) -> None:
    # Nor a checkpoint with a higher number, which belongs to an earlier run.
    name_last(work_dir, 'epoch_2.pth')
    truncate(work_dir / 'epoch_2.pth')
    torch.save({}, work_dir / 'best_accuracy_top1_epoch_1.pth')
    with pytest.raises(
            UserError, match='epoch_2.pth is damaged.*start again without'):
        newest_intact(work_dir)


@pytest.mark.parametrize('content', [None, b'', b'nowhere.pth', b'\xff\xfe'])
def test_without_a_usable_name_the_highest_number_is_taken(
        work_dir: Path, content: bytes | None) -> None:
    if content is None:
        (work_dir / 'last_checkpoint').unlink()
    else:
        (work_dir / 'last_checkpoint').write_bytes(content)
    assert newest_intact(work_dir)[0] == work_dir / 'epoch_10_step_4.pth'


def test_a_run_that_has_saved_nothing_has_no_checkpoint(
        tmp_path: Path) -> None:
    assert newest_intact(tmp_path) == (None, [])
    assert newest_intact(tmp_path / 'missing') == (None, [])
