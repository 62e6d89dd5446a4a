"""Where the runs of a sweep are made: here, by Slurm, or by anyone."""
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tadfkd.errors import Interrupted, UserError, reason_of
from tadfkd.sweeps.planning import PlannedRun
from tadfkd.sweeps.run_status import is_done, read_status


def make_runs(runs: Sequence[PlannedRun], out: Path, launch: str,
              slurm: Mapping[str, Any]) -> bool:
    """Make the runs of a sweep that have not ended.

    Args:
        runs: From :func:`~tadfkd.sweeps.planning.plan_runs`.
        out: The folder of all runs.
        launch: ``'local:N'`` makes N at a time on this machine, ``'slurm'``
            submits a job array, and ``'print'`` prints the command lines.
        slurm: Parameters of submitit's executor.

    Returns:
        Whether all runs have finished, or are left to others.

    Raises:
        UserError: If ``launch`` is something else, or Slurm is not there.
        Interrupted: If a signal came; the runs have been told to save.
    """
    kind, _, count = launch.partition(':')
    if not (launch in ('slurm', 'print', 'local')
            or kind == 'local' and count.isdecimal() and int(count) > 0):
        raise UserError(f'--launch is {launch}, and allowed are local:N with a'
                        ' number N >= 1, slurm and print: give one of them')
    missing = [run for run in runs if not is_done(run)]
    if launch == 'print':
        for run in missing:
            print(shlex.join(['tadfkd', *run.words]))
        return True
    print(f'{len(missing)} of {len(runs)} runs to do', flush=True)
    for run in missing:
        # So that the table has them before they begin.
        run.folder.mkdir(parents=True, exist_ok=True)
    if launch == 'slurm':
        if missing:
            _submit(missing, out / '.slurm', slurm)
        return True
    return _run_here(missing, int(count or 1)) and all(
        read_status(run.folder)['state'] == 'finished' for run in runs)


def _run_here(runs: Sequence[PlannedRun], count: int) -> bool:
    # What it imports takes a second.
    from tadfkd.engine.signals import stop_requests
    waiting, free = list(runs), list(range(count))
    running: dict[int, tuple[PlannedRun, subprocess.Popen]] = {}
    gpus = _visible_gpus()
    succeed = True
    with stop_requests() as request:
        told = False
        while running or waiting and not request.name:
            while waiting and free and not request.name:
                place = free.pop(0)
                environment = dict(os.environ)
                if gpus:
                    environment['CUDA_VISIBLE_DEVICES'] = gpus[place %
                                                               len(gpus)]
                elif count > 1:
                    environment.setdefault('OMP_NUM_THREADS', '1')
                run = waiting.pop(0)
                running[place] = run, _start(run, environment)
            if request.name and not told:
                for _, process in running.values():
                    process.terminate()
                told = True
            for place, (run, process) in [*running.items()]:
                if process.poll() is not None:
                    del running[place]
                    free.append(place)
                    succeed &= process.returncode == 0
                    print(f'{run.folder}: {_end_of(run, process)}', flush=True)
            time.sleep(0.1)
    if request.name:
        raise Interrupted(f'{request.name} has stopped the sweep; the same '
                          'command continues it')
    return succeed


def _start(run: PlannedRun, environment: dict[str, str]) -> subprocess.Popen:
    with open(run.folder / 'output.log', 'ab') as output:
        return subprocess.Popen(
            [sys.executable, '-m', 'tadfkd.cli', *run.words],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT)


def _end_of(run: PlannedRun, process: subprocess.Popen) -> str:
    """How a process has ended, in words."""
    if process.returncode == 0:
        return 'done'
    if process.returncode < 0:
        return f'ended by {signal.Signals(-process.returncode).name}'
    # A run that was refused leaves the status as it is.
    lines = (run.folder / 'output.log').read_text(errors='replace').split('\n')
    last = next(filter(None, reversed(lines)), 'failed')
    return read_status(run.folder)['reason'] or last.removeprefix('error: ')


def _visible_gpus() -> list[str]:
    """The numbers or names of the GPUs that this process may use."""
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    if visible is not None:
        return [name for name in visible.split(',') if name]
    import torch
    return [*map(str, range(torch.cuda.device_count()))]


@dataclass
class SlurmRun:
    """What a job of submitit calls: a run that Slurm may preempt.

    Attributes:
        words: The command line after ``tadfkd``.
    """

    words: list[str]

    def __call__(self) -> None:
        """Make the run, or resume it.

        Raises:
            SystemExit: With the exit code of a run that has not finished,
                which is then that of the job.
        """
        from tadfkd.cli import main
        try:
            main(self.words)
        except Interrupted as end:
            if 'SIGUSR2' in str(end):
                # The run is saved. Now the handler of submitit, which the
                # run had replaced, requeues the job.
                os.kill(os.getpid(), signal.SIGUSR2)
            raise

    def checkpoint(self) -> Any:
        """What submitit submits again after a preemption: the same run."""
        from submitit.helpers import DelayedSubmission
        return DelayedSubmission(self)


def _submit(runs: Sequence[PlannedRun], folder: Path,
            parameters: Mapping[str, Any]) -> None:
    """Submit a job array."""
    try:
        import submitit
    except ImportError as error:
        raise UserError('--launch slurm needs submitit: run `pip install '
                        '"tadfkd[sweep]"`, or use --launch print') from error
    try:
        # A long run meets its time limit often.
        executor = submitit.AutoExecutor(
            folder, cluster='slurm', slurm_max_num_timeout=1000)
        executor.update_parameters(**{'name': 'tadfkd', **parameters})
        with executor.batch():
            jobs = [executor.submit(SlurmRun(run.words)) for run in runs]
    except Exception as error:
        raise UserError(f'Slurm did not take the jobs ({reason_of(error)}): '
                        'correct --slurm, or use --launch print') from error
    for run, job in zip(runs, jobs):
        print(f'{run.folder}: job {job.job_id}')
