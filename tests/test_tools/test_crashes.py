"""Runs that are killed, stopped, and resumed, as from the command line."""
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.crashes import CrashTest
from benchmarks.run_end import differences, read_run_end
from tadfkd.errors import INTERRUPTED, UserError

ROOT = Path(__file__).resolve().parents[2]
NUM_KILLS = 20


@pytest.fixture(scope='module')
def arguments(digits_config: str, shared_tiny_options: dict[str, Any],
              tiny_teacher_checkpoint: str) -> list[str]:
    """Of tools/train.py, for a run of nine iterations in three epochs."""
    options = shared_tiny_options | {
        'train_cfg.max_epochs': 3,
        'train_dataloader.dataset.num_steps': 3,
        'default_hooks.logger.interval': 1,
        'val_dataloader.dataset.serialize_data': False
    }
    return [
        digits_config, '--teacher-checkpoint', tiny_teacher_checkpoint,
        '--cfg-options', *(f'{key}={value}' for key, value in options.items())
    ]


@pytest.fixture(scope='module')
def whole(arguments: list[str],
          tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work directory of a run that was left alone."""
    work_dir = tmp_path_factory.mktemp('whole')
    subprocess.run([
        sys.executable, ROOT / 'tools/train.py', *arguments, '--work-dir',
        work_dir
    ],
                   check=True,
                   timeout=120)
    return work_dir


def weights_of(work_dir: Path) -> dict[str, torch.Tensor]:
    """Of the last checkpoint, without a function that is tested here."""
    path = (work_dir / 'last_checkpoint').read_text()
    return torch.load(path, weights_only=False)['state_dict']


def test_twenty_kills_change_nothing(arguments: list[str],
                                     tmp_path: Path) -> None:
    subprocess.run([
        sys.executable, ROOT / 'tools/misc/crash_test.py', *arguments[:1],
        '--kills',
        str(NUM_KILLS), '--folder', tmp_path, '--json',
        tmp_path / 'record.json', *arguments[1:]
    ],
                   check=True,
                   timeout=600)
    record = json.loads((tmp_path / 'record.json').read_text())
    assert record['kills'] == NUM_KILLS
    assert record['runs_that_differ'] == 0
    # Within the writing of a checkpoint too, in each way that there is.
    assert {*record['moments']} == {'time', 'write', 'rename', 'name', 'prune'}
    assert record['half_written'] > 0
    runs = [*tmp_path.glob('run_*')]
    assert len(runs) == record['runs'] == len(record['each']) >= 4
    expected = weights_of(tmp_path / 'whole_0')
    for run in runs:
        found = weights_of(run)
        assert found.keys() == expected.keys()
        assert all(found[name].equal(expected[name]) for name in expected)
        assert not [*run.glob('.*')]


def test_processes_that_cannot_use_the_gpu_are_not_forked(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.setenv('PYTORCH_NVML_BASED_CUDA_CHECK', '0')
    with pytest.raises(UserError, match='NVML_BASED_CUDA_CHECK=1'):
        CrashTest(Path('train.py'), [], tmp_path, 0)


def test_the_comparison_sees_a_single_bit(whole: Path) -> None:
    end = read_run_end(whole)
    assert differences(end, read_run_end(whole)) == []
    other = read_run_end(whole)
    other['networks']['student.head.fc.bias'].view(torch.int32)[3] ^= 1
    other['summary.json']['student_steps'] += 1
    del other['training_state'][0]['streams']['latents']
    assert differences(end, other) == [
        '/networks/student.head.fc.bias', '/training_state/0/streams/latents',
        '/summary.json/student_steps'
    ]


@contextmanager
def running(words: list[str], output: Path) -> Iterator[subprocess.Popen]:
    """A process of its own, and of its own group as from a shell."""
    with output.open('w') as file:
        process = subprocess.Popen(
            words,
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], Any], process: subprocess.Popen) -> Any:
    """As soon as it is true."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        assert process.poll() is None
        time.sleep(0.01)
    raise AssertionError('it never happened')


def test_the_command_line_survives_a_kill_and_a_signal(whole: Path,
                                                       arguments: list[str],
                                                       tmp_path: Path) -> None:
    work_dir, output = tmp_path / 'run', tmp_path / 'output'
    command = [
        sys.executable,
        str(ROOT / 'tools/train.py'), *arguments, '--work-dir',
        str(work_dir)
    ]
    # As Slurm starts it again and again: there is nothing to resume yet.
    with running([*command, '--resume'], output) as process:
        wait_for(lambda: [*work_dir.glob('epoch_1.pth')], process)
        time.sleep(random.Random(0).uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert 'starts from the beginning' in output.read_text()

    with running([*command, '--resume'], output) as process:
        wait_for(lambda: 'Checkpoints will be' in output.read_text(), process)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(60) == INTERRUPTED
    *_, last = output.read_text().splitlines()
    match = re.fullmatch(
        r'stopped by SIGTERM and saved after \d of 9 iterations, go on by '
        r'--resume: (.*)', last)
    assert match is not None, last
    assert 'Traceback' not in output.read_text()
    subprocess.run(shlex.split(match[1]), cwd=ROOT, check=True, timeout=120)
    assert differences(read_run_end(whole), read_run_end(work_dir)) == []
