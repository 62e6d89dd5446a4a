"""Runs of several configs with several seeds, and a table of the results."""
import json
import multiprocessing
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.records import checkout_commit
from tadfkd.apis.config import load_config
from tadfkd.apis.runs import distill
from tadfkd.errors import UserError, require_at_least
from tadfkd.sweeps.planning import fingerprint
from tadfkd.utils.files import write_json

Options = dict[str, Any] | None

_COLUMNS = ('config', 'seeds', 'student, last epoch', 'worst seed',
            'mean of the last {k}', 'best epoch (extra)', 'agreement',
            'student steps', 'generator steps', 'images generated', 'seconds')


@dataclass(frozen=True)
class Run:
    """A distillation that a record shall have.

    Attributes:
        config: Path relative to the working directory.
        seed: Of the run.
        options: New values by dotted key.
        teacher: A config of another teacher, or None for the config's own.
        setting: Name of the options, in a record of several settings.
        fast: See :func:`load_config`.
    """

    config: str
    seed: int
    options: Options = None
    teacher: str | None = None
    setting: str | None = None
    fast: bool = False

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What tells the runs of a record apart."""
        return self.setting or '', self.config, self.teacher or '', self.seed

    @property
    def folder(self) -> Path:
        """Of its files, below that of all runs."""
        path = Path(self.config)
        teacher = f'_from_{Path(self.teacher).stem}' if self.teacher else ''
        return Path(self.setting or '',
                    f'{path.parent.name}_{path.stem}{teacher}',
                    f'seed_{self.seed}')

    @property
    def command(self) -> str:
        """By which a user makes the same run."""
        return ' '.join([
            f'python tools/train.py {self.config} --seed {self.seed}',
            *([f'--teacher {self.teacher}'] if self.teacher else []),
            *(['--fast'] if self.fast else []),
            *(['--cfg-options'] if self.options else []),
            *(f'{key}={value}' for key, value in (self.options or {}).items())
        ])

    def fingerprint(self) -> str:
        """A hash of what decides the result."""
        return fingerprint(
            load_config(
                self.config,
                self.options,
                teacher=self.teacher,
                fast=self.fast))


def complete(runs: Sequence[Run],
             record: str | os.PathLike,
             work_dir: str | os.PathLike,
             jobs: int = 1,
             teacher_checkpoint: str | None = None,
             then: Callable[[Run, Path], dict[str, Any]] | None = None,
             keep_failures: bool = False) -> list[dict[str, Any]]:
    """Make the runs that a record does not have yet.

    Args:
        runs: In this order.
        record: JSON file, rewritten after each run. If a config has changed,
            it runs again, and the new entry replaces the old one.
        work_dir: Each run writes into a folder of its own below this one.
        jobs: Number of runs at a time, >= 1. Each has one thread.
        teacher_checkpoint: See :func:`load_config`.
        then: A function of a module, called with each finished run and its
            folder; what it returns is added to the entry.
        keep_failures: Whether a run that fails gets an entry, with ``error``
            in place of ``summary``. The next call tries it again.

    Returns:
        All entries of the record, including those of earlier calls.

    Raises:
        UserError: If a path is absolute, ``jobs`` is below 1, the record
            cannot be read, or a run fails and failures are not kept.
    """
    require_at_least('the comparison', 'jobs', jobs, 1)
    for run in runs:
        for config in filter(None, (run.config, run.teacher)):
            if Path(config).is_absolute():
                raise UserError(f'config {config} must be relative to the '
                                'repository: name it as configs/...')
    path = Path(record)
    try:
        entries = json.loads(path.read_text()) if path.is_file() else []
    except ValueError as error:
        raise UserError(f'the record {record} is not JSON ({error}): name '
                        'another file, or remove it') from error
    known = {
        key_of(entry): entry['fingerprint']
        for entry in entries if 'summary' in entry
    }
    wanted = [run for run in runs if known.get(run.key) != run.fingerprint()]
    print(f'{len(wanted)} runs to do', flush=True)
    with ProcessPoolExecutor(
            jobs, mp_context=multiprocessing.get_context('spawn')) as pool:
        futures = [
            pool.submit(_make, run, Path(work_dir), teacher_checkpoint, then,
                        keep_failures) for run in wanted
        ]
        for future in as_completed(futures):
            try:
                new = future.result()
            except BaseException:
                # Runs that have begun end, and are lost.
                pool.shutdown(cancel_futures=True)
                raise
            entries = [
                entry for entry in entries if key_of(entry) != key_of(new)
            ] + [new]
            entries.sort(key=key_of)
            write_json(path, entries)
            result = new['error'] if 'error' in new else new['summary'][
                'student_top1_last']
            print(
                *filter(None,
                        key_of(new)[:3]),
                new['seed'],
                result,
                flush=True)
    return entries


def key_of(entry: dict[str, Any]) -> tuple[str, str, str, int]:
    """:attr:`Run.key` of the run of an entry."""
    return Run(
        entry['config'],
        entry['seed'],
        teacher=entry.get('teacher'),
        setting=entry.get('setting')).key


def _make(run: Run, work_dir: Path, teacher_checkpoint: str | None,
          then: Callable[[Run, Path], dict[str, Any]] | None,
          keep_failures: bool) -> dict[str, Any]:
    """Distil once in this process, and return the entry of the record."""
    torch.set_num_threads(1)
    folder = work_dir / run.folder
    named = dict(setting=run.setting, config=run.config, teacher=run.teacher)
    entry: dict[str, Any] = {
        name: value
        for name, value in named.items() if value is not None
    } | dict(
        seed=run.seed,
        fingerprint=run.fingerprint(),
        commit=checkout_commit(),
        command=run.command,
        machine=f'{os.cpu_count()} cores, {platform.machine()}',
        threads=torch.get_num_threads())
    try:
        summary = distill(
            run.config,
            options=run.options,
            seed=run.seed,
            work_dir=str(folder),
            teacher=run.teacher,
            fast=run.fast,
            teacher_checkpoint=teacher_checkpoint).summary
        more = then(run, folder) if then else {}
    except UserError as error:
        if not keep_failures:
            raise
        return entry | dict(error=str(error))
    return entry | more | dict(summary=summary)


def comparison_table(records: Iterable[dict[str, Any]]) -> str:
    """A Markdown table with one row per config and teacher, the best first.

    Args:
        records: Entries with ``config`` (path), ``seed`` and ``summary``
            (content of ``summary.json``) of runs that were evaluated.

    Returns:
        The table. Accuracies and agreement are in percent. The last epoch has
        the mean and the population standard deviation over the seeds, other
        columns have the mean.
    """
    by_config: dict[str, list[dict]] = {}
    for record in records:
        name = f'`{record["config"].removeprefix("configs/")}`'
        if 'teacher' in record:
            name += f' from `{Path(record["teacher"]).stem}`'
        by_config.setdefault(name, []).append(record)
    rows = [_row(name, runs) for name, runs in by_config.items()]
    rows.sort(key=lambda row: -row[0])
    last_k = {
        record['summary']['last_k']
        for runs in by_config.values()
        for record in runs
    }
    columns = [
        column.format(k=' or '.join(map(str, sorted(last_k))))
        for column in _COLUMNS
    ]
    lines = [columns, ['---'] * len(columns), *(cells for _, cells in rows)]
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines)


def _row(label: str, runs: list[dict]) -> tuple[float, list[str]]:
    """The accuracy that rows are sorted by, and the cells."""
    runs = sorted(runs, key=lambda run: run['seed'])
    summaries = [run['summary'] for run in runs]

    def mean(name: str) -> float:
        return statistics.fmean(summary[name] for summary in summaries)

    last = [summary['student_top1_last'] for summary in summaries]
    centre, spread = statistics.fmean(last), statistics.pstdev(last)
    return centre, [
        label, ', '.join(str(run['seed'])
                         for run in runs), f'{centre:.2f} ± {spread:.2f}',
        f'{min(last):.2f}', f'{mean("student_top1_last_k_mean"):.2f}',
        f'{max(summary["student_top1_max"] for summary in summaries):.2f}',
        f'{mean("agreement_last"):.1f}', f'{mean("student_steps"):.0f}',
        f'{mean("generator_steps"):.0f}', f'{mean("images_generated"):.0f}',
        f'{mean("wall_seconds"):.0f}'
    ]
