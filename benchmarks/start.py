"""How long a command takes before it does what it was asked for.

Each case is a process of its own, and the cases run in turn, so that a busy
machine slows all of them. *CPU* is the time that all threads of the process
took, and *wall* is what a user waits. On a machine that does other work, CPU
is the more reliable of the two.

The training ends at its first step. Its teacher has random weights, because a
checkpoint is read in no time. No evaluation data are loaded.
"""
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.records import checkout_commit

_TRAIN = 'tools/train.py'
_CONFIG = 'configs/tadfkd/resnet18w16_to_resnet18w8_digits.py'
#: Leaves a run at its first step. Hooks without this method inherit it.
_FIRST_STEP = f"""
import os, runpy, sys
sys.argv = [{_TRAIN!r}, {_CONFIG!r}, '--no-eval', '--work-dir', sys.argv[1],
            '--cfg-options', 'model.teacher.checkpoint=None',
            'model.teacher.allow_random_weights=True']
from mmengine.hooks import Hook
Hook.before_train_iter = lambda *_, **__: os._exit(99)
runpy.run_path(sys.argv[0], run_name='__main__')
"""
_TRAINING, _LIBRARIES = 'training, until its first step', \
    'import torch, mmengine, mmpretrain'
#: What follows ``python``, and the exit code. WORK_DIR is an empty folder.
CASES: dict[str, tuple[list[str], int]] = {
    'an empty program': (['-c', 'pass'], 0),
    'import tadfkd': (['-c', 'import tadfkd'], 0),
    '--help': ([_TRAIN, '--help'], 0),
    'a misspelt option': ([_TRAIN, _CONFIG, '--sed', '3'], 2),
    'a missing file': ([_TRAIN, 'missing.py'], 1),
    _LIBRARIES: (['-c', _LIBRARIES], 0),
    _TRAINING: (['-c', _FIRST_STEP, 'WORK_DIR'], 99),
}


def time_start(checkout: Path, repeats: int) -> dict[str, Any]:
    """Time all cases.

    Args:
        checkout: Folder of a checkout of this repository, of any commit.
        repeats: Runs of each case, >= 1.

    Returns:
        ``checkout``, the commit there; ``cases``, with medians in seconds of
        ``cpu`` and ``wall`` by name; ``training_over_libraries``, the ratio
        of CPU times.

    Raises:
        RuntimeError: If a case ends with another exit code than it should.
    """
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as work_dir:
        for _ in range(repeats):
            for name, (words, code) in CASES.items():
                words = [
                    work_dir if word == 'WORK_DIR' else word for word in words
                ]
                times[name].append(_time(words, code, checkout))
    cases = {}
    for name, runs in times.items():
        cpu, wall = (statistics.median(column) for column in zip(*runs))
        cases[name] = dict(cpu=cpu, wall=wall)
    return dict(
        checkout=checkout_commit(checkout),
        cases=cases,
        training_over_libraries=cases[_TRAINING]['cpu'] /
        cases[_LIBRARIES]['cpu'])


def _time(words: list[str], code: int, checkout: Path) -> tuple[float, float]:
    """Seconds of CPU and of the clock that ``python`` takes."""
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([sys.executable, *words],
                                   cwd=checkout,
                                   env=dict(
                                       os.environ, PYTHONPATH=str(checkout)),
                                   stdout=output,
                                   stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != code:
            output.seek(0)
            raise RuntimeError(f'{words} ended with {process.returncode} '
                               f'instead of {code}: {output.read().decode()}')
    return usage.ru_utime + usage.ru_stime, wall


def start_table(record: dict[str, Any]) -> str:
    """Checkouts and cases as Markdown, seconds of CPU and of the clock."""
    lines = [
        '| what | ' + ' | '.join(f'{name}, CPU s | {name}, wall s'
                                 for name in record) + ' |',
        '| --- ' * (1 + 2 * len(record)) + '|'
    ]
    for case in CASES:
        times = (entry['cases'][case] for entry in record.values())
        lines.append(f'| {case} | ' +
                     ' | '.join(f'{time["cpu"]:.2f} | {time["wall"]:.2f}'
                                for time in times) + ' |')
    ratios = (entry['training_over_libraries'] for entry in record.values())
    lines.append('| training / import | ' +
                 ' | '.join(f'{ratio:.2f} | ' for ratio in ratios) + ' |')
    return '\n'.join(lines)
