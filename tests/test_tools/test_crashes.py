"""Runs that are killed or stopped, and resumed, as from the command line."""
import os
import re
import shlex
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tool_processes import ROOT, run_forked, start_forked

from benchmarks.crashes import CrashTest
from benchmarks.run_end import differences, read_run_end
from tadfkd.errors import INTERRUPTED

TRAIN = ROOT / 'tools/train.py'
#: Each moment of a save once, and the passing of time once.
NUM_KILLS = 5


@pytest.fixture(scope='module')
def arguments(digits_config: str, shared_tiny_options: dict[str, Any],
              tiny_teacher_checkpoint: str) -> list[str]:
    """Of tools/train.py, for a run of nine iterations in three epochs."""
    options = shared_tiny_options | {
        'train_cfg.max_epochs': 3,
        'train_dataloader.dataset.num_steps': 3,
        'default_hooks.logger.interval': 1,
        'default_hooks.samples': None,
        # They take longer than the run.
        'default_hooks.student_files': None,
        'default_hooks.report': None
    }
    return [
        digits_config, '--no-eval', '--teacher-checkpoint',
        tiny_teacher_checkpoint, '--cfg-options',
        *(f'{key}={value}' for key, value in options.items())
    ]


def weights_of(work_dir: Path) -> dict[str, torch.Tensor]:
    """Of the last checkpoint, without a function that is tested here."""
    path = (work_dir / 'last_checkpoint').read_text()
    return torch.load(path, weights_only=False)['state_dict']


def test_kills_at_each_moment_change_nothing(arguments: list[str],
                                             tmp_path: Path) -> None:
    record = CrashTest(TRAIN, arguments, tmp_path, 0).run(NUM_KILLS)
    assert record['kills'] == NUM_KILLS
    assert record['runs_that_differ'] == 0
    assert {*record['moments']} == {'time', 'write', 'rename', 'name', 'prune'}
    assert record['half_written'] > 0
    expected = weights_of(tmp_path / 'whole_0')
    for index in range(record['runs']):
        found = weights_of(tmp_path / f'run_{index}')
        assert found.keys() == expected.keys()
        assert all(found[name].equal(expected[name]) for name in expected)
        assert not [*(tmp_path / f'run_{index}').glob('.*')]


def test_a_stopped_run_says_how_to_go_on_and_ends_like_a_whole_one(
        arguments: list[str], tmp_path: Path) -> None:
    work_dir, whole = tmp_path / 'run', tmp_path / 'whole'
    process = run_forked(TRAIN, [*arguments, '--work-dir', str(whole)])
    assert process.returncode == 0, process.stdout + process.stderr
    outputs = [tmp_path / 'stdout', tmp_path / 'stderr']

    def text() -> str:
        return ''.join(output.read_text() for output in outputs)

    # As Slurm starts it again and again: there is nothing to resume yet.
    stopped = start_forked(
        TRAIN, [*arguments, '--work-dir',
                str(work_dir), '--resume'], dict(os.environ), outputs)
    try:
        until = time.monotonic() + 120
        while 'Checkpoints will be' not in text():
            assert stopped.exitcode is None and time.monotonic() < until
            time.sleep(0.01)
        os.killpg(stopped.pid, signal.SIGTERM)
        stopped.join(60)
        assert stopped.exitcode == INTERRUPTED
    finally:
        stopped.kill()
    assert 'starts from the beginning' in text()
    assert 'Traceback' not in text()
    match = re.search(
        r'^stopped by SIGTERM and saved after \d of 9 iterations, resume with '
        r'--resume: (.*)$', text(), re.MULTILINE)
    assert match is not None, text()
    _, script, *words = shlex.split(match[1])
    process = run_forked(Path(script), words)
    assert process.returncode == 0, process.stdout + process.stderr
    assert differences(read_run_end(whole), read_run_end(work_dir)) == []
