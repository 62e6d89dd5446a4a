"""A process that fails ends the run in all of them, and it can go on."""
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tadfkd.checkpoints.reading import read_checkpoint

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 8
#: torchrun waits so long until it kills a process that does not end.
GRACE = 30

Start = Callable[..., subprocess.Popen]


@pytest.fixture
def start(tiny_options: dict[str, Any]) -> Iterator[Start]:
    """Starts tools/dist_train.sh; keywords are environment variables."""
    processes = []

    def begin(config: str, number: int, work_dir: Path, *arguments: str,
              options: dict[str,
                            Any], **environment: object) -> subprocess.Popen:
        options = tiny_options | {'env_cfg.dist_cfg.timeout': TIMEOUT} | \
            options
        process = subprocess.Popen([
            ROOT / 'tools/dist_train.sh', config,
            str(number), '--work-dir', work_dir, '--no-eval', *arguments,
            '--cfg-options', *(f'{key}={value}'
                               for key, value in options.items())
        ],
                                   cwd=ROOT,
                                   env=dict(os.environ, PYTHON=sys.executable)
                                   | {
                                       name: str(value)
                                       for name, value in environment.items()
                                   },
                                   stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT,
                                   text=True)
        processes.append(process)
        return process

    yield begin
    for process in processes:
        for pid in (*_descendants(process.pid), process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        process.communicate()


def _descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f'/proc/{pid}/task').glob('*/children'):
        for child in map(int, task.read_text().split()):
            found += [*_descendants(child), child]
    return found


def rank_of(process: subprocess.Popen, rank: int) -> int:
    """Process id of a rank of the job."""
    return next(
        pid for pid in _descendants(process.pid)
        if f'\0RANK={rank}\0'.encode() in Path(
            f'/proc/{pid}/environ').read_bytes()
        and b'train.py' in Path(f'/proc/{pid}/cmdline').read_bytes())


def wait_for_checkpoint(process: subprocess.Popen, work_dir: Path) -> None:
    """Until there is one, for a minute or two."""
    until = time.monotonic() + 120
    while not (work_dir / 'last_checkpoint').exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_dies_or_hangs_ends_the_run(
        digits_config: str, start: Start, free_port: Callable[[], int],
        tmp_path: Path, how: signal.Signals) -> None:
    process = start(
        digits_config,
        2,
        tmp_path,
        options={'train_cfg.max_epochs': 100000},
        PORT=free_port())
    wait_for_checkpoint(process, tmp_path)
    os.kill(rank_of(process, 1), how)
    begin = time.monotonic()
    output = process.communicate(timeout=120)[0]
    seconds = time.monotonic() - begin
    assert process.returncode not in (0, None), output
    limit = TIMEOUT + (GRACE if how == signal.SIGSTOP else 0)
    # Room for a machine that is busy.
    assert seconds < limit + 15
    checkpoint = Path((tmp_path / 'last_checkpoint').read_text())
    states = read_checkpoint(checkpoint)['training_state']
    assert len(states) == 2
    if how == signal.SIGSTOP:
        return

    # What is left goes on with one process, and then with two again.
    epoch = read_checkpoint(checkpoint)['meta']['epoch']
    for number in (1, 2):
        epoch += 1
        output = start(
            digits_config,
            number,
            tmp_path,
            '--resume',
            options={
                'train_cfg.max_epochs': epoch
            },
            PORT=free_port()).communicate(timeout=240)[0]
        assert f'was saved by {3 - number} processes and there are {number}' \
            in ' '.join(output.split())
        last = read_checkpoint(tmp_path / f'epoch_{epoch}.pth')
        assert len(last['training_state']) == number
        generated = sum(state['counters']['images_generated']
                        for state in last['training_state'])
        before = sum(state['counters']['images_generated'] for state in states)
        assert generated > before
        states = last['training_state']


def test_a_mistake_on_one_of_two_machines_ends_the_run_on_both(
        digits_config: str, start: Start, free_port: Callable[[], int],
        tmp_path: Path) -> None:
    port = free_port()
    good, bad = (start(
        digits_config,
        1,
        tmp_path / str(node),
        options={'env_cfg.dist_cfg.timeout': 100} | mistake,
        NNODES=2,
        NODE_RANK=node,
        PORT=port) for node, mistake in enumerate((
            {}, {
                'model.teacher.checkpoint': 'none.pth'
            })))
    output = bad.communicate(timeout=120)[0]
    assert bad.returncode not in (0, None)
    assert 'error: teacher checkpoint none.pth does not exist' in output
    output = good.communicate(timeout=120)[0]
    assert good.returncode not in (0, None), output
