"""What the console shows of a run: a terminal, and a file."""
import contextlib
import os
import pty
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from mmengine.config import Config

from tadfkd.apis import train
from tadfkd.engine.hooks import progress
from tadfkd.engine.hooks.progress import live_line

PREAMBLE = ('System environment', 'Config:', 'Hooks will be executed',
            'FileClient', 'Epoch(synthetic)', 'Epoch(val)')


@contextlib.contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """stdout is a terminal of 120 columns; the list gets what it shows."""
    for name, value in dict(TERM='xterm', COLUMNS='120').items():
        monkeypatch.setenv(name, value)
    reader, writer = pty.openpty()
    blocks: list[bytes] = []
    shown: list[str] = []

    def read() -> None:
        # Reading fails when nobody can write any more.
        with contextlib.suppress(OSError):
            while block := os.read(reader, 4096):
                blocks.append(block)

    thread = threading.Thread(target=read)
    thread.start()
    with open(writer, 'w') as stdout, monkeypatch.context() as patch:
        patch.setattr(sys, 'stdout', stdout)
        yield shown
        assert sys.stdout is stdout
    thread.join(10)
    os.close(reader)
    shown.append(b''.join(blocks).decode())


def log_of(config: Config) -> str:
    """The text of the only log file of a run."""
    [log] = Path(config.work_dir).glob('*/*.log')
    return log.read_text()


def test_a_terminal_has_a_live_line_whose_error_ends_no_run(
        tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, '_INTERVAL', 0)
    measured = progress.measured

    def broken(epochs: list[dict]) -> list[str]:
        assert len(epochs) < 2, 'a line that cannot be drawn'
        return measured(epochs)

    monkeypatch.setattr(progress, 'measured', broken)
    with terminal(monkeypatch) as texts:
        train(tiny_config)
    [shown], log = texts, log_of(tiny_config)
    assert 'a line that cannot be drawn' in log
    for text in PREAMBLE:
        assert text in log and text not in shown
    assert 'Epoch(train)' not in shown
    lines = [
        re.sub(r'\x1b\[[\d;?]*\w', '', line).rpartition('\r')[2]
        for line in shown.replace('\r\n', '\n').splitlines()
    ]
    assert 'before the first step' in shown and 'step 2/8' in shown
    assert re.search(r'eta 0:00:\d\d  top-1 \S+ %  \S*healthy', shown)
    whole = '\n'.join(lines)
    assert re.search(r'^TADFKD: .* teaches .*, teacher top-1 .* %\n8 steps, ',
                     whole, re.M), whole
    assert re.search(
        r'^epoch 2/2  student_total \S+  generator_total \S+  agreement \S+ %'
        r'  kappa \S+  top-1 \S+ %$', whole, re.M), whole
    # The cursor is there again.
    assert shown.rfind('\x1b[?25h') > shown.rfind('\x1b[?25l') >= 0


def test_a_file_has_plain_lines_without_the_preamble(
        tiny_config: Config, capsys: pytest.CaptureFixture,
        monkeypatch: pytest.MonkeyPatch) -> None:
    # rich takes any output for a terminal then.
    monkeypatch.setenv('FORCE_COLOR', '1')
    tiny_config.train_cfg.max_epochs = 1
    train(tiny_config)
    shown, log = capsys.readouterr().out, log_of(tiny_config)
    for text in PREAMBLE:
        assert text in log and text not in shown
    for text in 'Epoch(train)', 'TADFKD: ', 'epoch 1/1  student_total ':
        assert text in log and text in shown
    assert '\x1b[?25' not in shown


@pytest.mark.parametrize('width, text', [
    (40, 'step 1/2  eta 0:00:01  top-1 91.2 %'),
    (39, 'step 1/2  eta 0:00:01  top-1 91.2 %'),
    (34, 'step 1/2  eta 0:00:01'),
    (5, 'step 1/2'),
])
def test_a_narrow_terminal_has_what_matters_most(width: int,
                                                 text: str) -> None:
    parts = ['step 1/2', 'eta 0:00:01', 'top-1 91.2 %', 'healthy']
    assert live_line(parts, width).plain == text
