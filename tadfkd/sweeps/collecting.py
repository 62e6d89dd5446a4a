"""A table of the runs in a folder: what they reach, and how they ended."""
import csv
import io
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tadfkd.errors import UserError
from tadfkd.sweeps.run_status import read_status, read_summary
from tadfkd.sweeps.strips import draw_strips

#: Columns of numbers: heading, digits, and the value of a run or None.
_NUMBERS: dict[str, tuple[int, str]] = {
    'top-1': (2, 'top1'),
    '% of teacher': (1, 'share'),
    'agreement': (1, 'agreement'),
    'kappa': (3, 'kappa'),
}
_NAMES = ('teacher', 'config', 'setting')


@dataclass(frozen=True)
class MadeRun:
    """A run that a folder has, whatever its state.

    Attributes:
        teacher: The first folder of its path.
        config: The second one.
        setting: The third one, or an empty string.
        seed: From the last one.
        status: See :func:`~tadfkd.sweeps.run_status.read_status`.
        values: Student's top-1 at the last epoch in percent (``top1``), as a
            percentage of the teacher's (``share``), ``agreement`` in percent
            and ``kappa``; each is None if it is not known, and all are unless
            the run has finished.
        unhealthy_epochs: Those that the health check warned of.
    """

    teacher: str
    config: str
    setting: str
    seed: int
    status: dict[str, Any]
    values: dict[str, float | None]
    unhealthy_epochs: list[int]


def collect(out: Path) -> list[MadeRun]:
    """The runs below a folder, in order.

    Args:
        out: The folder of a sweep.

    Raises:
        UserError: If it has no run, or a file in it is not JSON.
    """
    try:
        runs = [
            _read(out, folder) for depth in ('*/*', '*/*/*')
            for folder in out.glob(f'{depth}/seed_*')
            if folder.name.removeprefix('seed_').isdecimal()
        ]
    except ValueError as error:
        raise UserError(f'a file in {out} is not JSON ({error}): remove the '
                        'folder of its run') from error
    if not runs:
        raise UserError(f'{out} has no run in TEACHER/CONFIG/seed_N: name the '
                        'folder of a sweep')
    return sorted(
        runs, key=lambda run: (run.teacher, run.config, run.setting, run.seed))


def _read(out: Path, folder: Path) -> MadeRun:
    teacher, config, *setting, seed = folder.relative_to(out).parts
    status = read_status(folder)
    finished = status['state'] == 'finished'
    summary = read_summary(folder) if finished else {}
    top1, of = (
        summary.get(f'{key}') for key in ('student_top1_last', 'teacher_top1'))
    history = folder / 'history.json'
    last = json.loads(history.read_text())['epochs'][-1] \
        if summary and history.is_file() else {}
    return MadeRun(
        teacher, config, ''.join(setting), int(seed.removeprefix('seed_')),
        status,
        dict(
            top1=top1,
            share=100 * top1 / of if top1 is not None and of else None,
            agreement=summary.get('agreement_last'),
            kappa=last.get('kappa')), summary.get('unhealthy_epochs', []))


def sweep_table(runs: Sequence[MadeRun], format: str = 'markdown') -> str:
    """A row per teacher, config and setting.

    Args:
        runs: From :func:`collect`.
        format: ``'markdown'`` or ``'csv'``.

    Returns:
        The table. Numbers have the mean, the population standard deviation
        and the worst seed, of the runs that finished. How many did and how
        the others ended is in the last columns.
    """
    is_csv = format == 'csv'
    numbers = {
        heading: column
        for heading, column in _NUMBERS.items()
        if any(run.values[column[1]] is not None for run in runs)
    }
    num_names = 3 if any(run.setting for run in runs) else 2
    parts = ('', ' std', ' worst') if is_csv else (' ± std (worst)', )
    lines = [[
        *_NAMES[:num_names], *(heading + part for heading in numbers
                               for part in parts), 'finished', 'health'
    ]]
    for names, group in _grouped(
            runs, lambda run: (run.teacher, run.config, run.setting)).items():
        cells = [*names[:num_names]]
        for digits, key in numbers.values():
            values = _known(group, key)
            found = [
                f'{function(values):.{digits}f}' if values else ''
                for function in (statistics.fmean, statistics.pstdev, min)
            ]
            cells += found if is_csv else [
                '{} ± {} ({})'.format(*found) if values else ''
            ]
        count = sum(run.status['state'] == 'finished' for run in group)
        lines.append([
            *cells, f'{count} of {len(group)}',
            '; '.join(filter(None, map(_health, group))) or 'healthy'
        ])
    if is_csv:
        table = io.StringIO()
        csv.writer(table, lineterminator='\n').writerows(lines)
        return table.getvalue().rstrip('\n')
    lines.insert(1, ['---'] * len(lines[0]))
    return '\n'.join(
        '| ' + ' | '.join(cell.replace('|', '\\|') or '-'
                          for cell in line) + ' |' for line in lines)


def _health(run: MadeRun) -> str:
    """What is wrong with a run, or an empty string."""
    if run.status['state'] != 'finished':
        reason = run.status['reason']
        return f'seed {run.seed} {run.status["state"]}' + (f': {reason}'
                                                           if reason else '')
    epochs = ', '.join(map(str, run.unhealthy_epochs))
    return f'seed {run.seed} unhealthy in epoch {epochs}' if epochs else ''


def plot_sweep(runs: Sequence[MadeRun], path: Path) -> None:
    """Draw a strip per config and setting, with a dot per teacher.

    Args:
        runs: From :func:`collect`.
        path: A PNG file to write. Its numbers are means over the seeds: shares
            of the teacher's accuracy, or agreement if no run has data.
    """
    key, label = ('share', "student's accuracy as a share of the teacher's, "
                  'percent') if _known(runs, 'share') else (
                      'agreement', 'agreement on generated images, percent')
    rows = _grouped(runs, lambda run: f'{run.config} {run.setting}'.strip())
    draw_strips(
        {
            row: {
                teacher:
                statistics.fmean(values) if
                (values := _known(of, key)) else None
                for teacher, of in _grouped(group,
                                            lambda run: run.teacher).items()
            }
            for row, group in rows.items()
        }, path, label)


def _known(runs: Sequence[MadeRun], key: str) -> list[float]:
    return [value for run in runs if (value := run.values[key]) is not None]


def _grouped(runs: Sequence[MadeRun],
             key: Callable[[MadeRun], Any]) -> dict[Any, list[MadeRun]]:
    groups: dict[Any, list[MadeRun]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run)
    return groups
