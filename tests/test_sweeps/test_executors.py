"""Runs are started with their GPUs; one that fails does not stop others."""
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tadfkd.errors import Interrupted, UnhealthyRun, UserError
from tadfkd.sweeps import executors
from tadfkd.sweeps.executors import SlurmRun, make_runs
from tadfkd.sweeps.planning import PlannedRun
from tadfkd.sweeps.run_status import make_once

Plan = Callable[..., list[PlannedRun]]
#: In place of a run: writes its environment, and fails with seed 1.
RUN = """
import os, sys
with open('environment', 'w') as file:
    print(*map(os.environ.get, ('CUDA_VISIBLE_DEVICES', 'OMP_NUM_THREADS')),
          file=file)
print('error: seed 1 is bad')
sys.exit('seed_1' in os.getcwd())
"""


def starts(program: str) -> Callable[[PlannedRun, Any], subprocess.Popen]:
    """A function that starts a program in place of a run."""

    def start(run: PlannedRun, environment: dict[str,
                                                 str]) -> subprocess.Popen:
        with open(run.folder / 'output.log', 'ab') as output:
            return subprocess.Popen([sys.executable, '-c', program],
                                    cwd=run.folder,
                                    env=environment,
                                    stdout=output)

    return start


@pytest.mark.parametrize('visible, expected', [
    ('4,GPU-ab', {'4 1', 'GPU-ab 1'}),
    ('', {' 1'}),
])
def test_each_run_has_a_gpu_and_a_failure_stops_no_other(
        plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture, visible: str,
        expected: set[str]) -> None:
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
    monkeypatch.setattr(executors, '_start', starts(RUN))
    runs = plan([0, 1, 2])
    make_once(runs[0].folder, runs[0].load, lambda _: None)
    assert not make_runs(runs, tmp_path / 'runs', 'local:2', {})
    out = capsys.readouterr().out
    assert '2 of 3 runs to do' in out
    assert 'seed_1: seed 1 is bad\n' in out and 'seed_2: done\n' in out
    assert not (runs[0].folder / 'environment').exists()
    assert {(run.folder / 'environment').read_text().strip('\n')
            for run in runs[1:]} == expected


def test_a_sweep_succeeds_if_all_runs_have_finished(plan: Plan,
                                                    tmp_path: Path) -> None:
    runs = plan([0, 1])

    def collapse(_: Any) -> NoReturn:
        raise UnhealthyRun('it has collapsed')

    make_once(runs[0].folder, runs[0].load, lambda _: None)
    assert make_runs(runs[:1], tmp_path / 'runs', 'local', {})
    with pytest.raises(UnhealthyRun):
        make_once(runs[1].folder, runs[1].load, collapse)
    # It would collapse again, so it is not made again.
    assert not make_runs(runs, tmp_path / 'runs', 'local', {})


def test_a_signal_is_passed_on_and_nothing_more_is_started(
        plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def start(run: PlannedRun, environment: Any) -> subprocess.Popen:
        process = starts('import time; time.sleep(99)')(run, environment)
        started.append(process)
        os.kill(os.getpid(), signal.SIGTERM)
        return process

    monkeypatch.setattr(executors, '_start', start)
    with pytest.raises(Interrupted, match='SIGTERM has stopped the sweep'):
        make_runs(plan([0, 1]), tmp_path / 'runs', 'local', {})
    [process] = started
    assert process.returncode == -signal.SIGTERM


def test_the_commands_of_runs_are_printed(
        plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    runs = plan([0, 1])
    assert make_runs(runs, tmp_path / 'runs', 'print', {})
    assert [
        shlex.split(line) for line in capsys.readouterr().out.splitlines()
    ] == [['tadfkd', *run.words] for run in runs]
    assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize('launch', ['ray', 'local:0', 'local:two'])
def test_another_launch_is_a_user_error(launch: str) -> None:
    with pytest.raises(UserError, match=f'--launch is {launch}, and allowed'):
        make_runs([], Path('runs'), launch, {})


def test_slurm_without_submitit_is_one_sentence(
        plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'submitit', None)
    with pytest.raises(UserError, match=r'pip install "tadfkd\[sweep\]"'):
        make_runs(plan(), tmp_path / 'runs', 'slurm', {})


@pytest.mark.parametrize('name, requeued', [('SIGUSR2', 1), ('SIGTERM', 0)])
def test_a_saved_run_asks_submitit_to_requeue_it(
        monkeypatch: pytest.MonkeyPatch, name: str, requeued: int) -> None:
    """Slurm itself requeues a job that got SIGTERM."""
    received: list[int] = []

    def stopped(words: list[str]) -> None:
        assert words == ['train']
        raise Interrupted(f'stopped by {name} and saved')

    monkeypatch.setattr('tadfkd.cli.main', stopped)
    before = signal.signal(signal.SIGUSR2,
                           lambda number, _: received.append(number))
    try:
        with pytest.raises(Interrupted):
            SlurmRun(['train'])()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert len(received) == requeued
