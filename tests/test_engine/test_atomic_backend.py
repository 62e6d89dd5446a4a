"""Checkpoints that are whole or not there."""
import builtins
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.fileio import get_file_backend

from tadfkd.apis import train

BACKEND = dict(backend='atomic_local')


def test_a_failed_write_leaves_the_earlier_checkpoint(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'epoch_1.pth'
    backend = get_file_backend(str(path), backend_args=dict(BACKEND))
    backend.put(b'earlier', path)

    real_open = builtins.open

    def full_disk(file: Any, mode: str = 'r', *more: Any) -> Any:
        opened = real_open(file, mode, *more)
        if 'w' in mode:
            opened.write(b'half')
            opened.close()
            raise OSError(28, 'No space left on device')
        return opened

    monkeypatch.setattr(builtins, 'open', full_disk)
    with pytest.raises(OSError, match='No space left'):
        backend.put(b'a later one', path)
    monkeypatch.undo()
    assert path.read_bytes() == b'earlier'
    assert [file.name for file in tmp_path.iterdir()] == ['epoch_1.pth']


def test_a_run_writes_its_checkpoints_through_it(
        tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr('tadfkd.engine.hooks.checkpoint.write_atomically',
                        lambda path, content: written.append(Path(path).name))
    train(tiny_config)
    assert written == ['epoch_1.pth', 'epoch_2.pth']
