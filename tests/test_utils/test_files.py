"""Files are written whole or not at all."""
import errno
import os
from pathlib import Path

import pytest

from tadfkd.utils.files import remove_leftovers, write_atomically


def test_content_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / 'file'
    for content in (b'one', b'', b'\x00\r\n\xff' * 1000):
        write_atomically(path, content)
        assert path.read_bytes() == content
        assert os.listdir(tmp_path) == ['file']


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_atomically(str(tmp_path / 'a' / 'b' / 'file'), b'here')
    assert (tmp_path / 'a' / 'b' / 'file').read_bytes() == b'here'


@pytest.mark.parametrize('failing', ['fsync', 'replace'])
def test_a_failure_leaves_the_old_content_and_nothing_else(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    path = tmp_path / 'file'
    write_atomically(path, b'old')

    def fail(*_: object) -> None:
        # Half of the work is done: what is there now is not the old file.
        assert len(os.listdir(tmp_path)) == 2
        raise OSError(errno.ENOSPC, 'no space left on device')

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match='no space left') as error:
        write_atomically(path, b'new')
    # The system does not name the file if the disk is full.
    assert error.value.filename == str(path)
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['file']


def test_the_halves_that_killed_processes_left_are_removed(
        tmp_path: Path) -> None:
    (tmp_path / 'below').mkdir()
    others = ['.hidden', '.notes.tmp', 'file.123.tmp', 'below/.file.12.tmp']
    for name in ('.epoch_3.pth.4711.tmp', '.history.json.1.tmp', *others):
        (tmp_path / name).write_bytes(b'half')
    remove_leftovers(tmp_path)
    left = {
        str(path.relative_to(tmp_path))
        for path in tmp_path.rglob('*') if path.is_file()
    }
    assert left == {*others}
