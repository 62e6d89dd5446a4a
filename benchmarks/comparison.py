"""Runs of several configs with several seeds, and a table of the results."""
import hashlib
import json
import multiprocessing
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch

from benchmarks.records import checkout_commit
from tadfkd.apis.config import load_config
from tadfkd.apis.runs import distill
from tadfkd.errors import UserError, require_at_least
from tadfkd.utils.files import write_json

Options = dict[str, Any] | None

_COLUMNS = ('config', 'seeds', 'student, last epoch', 'worst seed',
            'mean of the last {k}', 'best epoch (extra)', 'agreement',
            'student steps', 'generator steps', 'images generated', 'seconds')


def compare(configs: Sequence[str],
            seeds: Sequence[int],
            record: str | os.PathLike,
            options: Options = None,
            work_dir: str | os.PathLike = 'work_dirs/comparison',
            teacher_checkpoint: str | None = None,
            jobs: int = 1,
            setting: str | None = None) -> list[dict[str, Any]]:
    """Distil with every config and seed that the record does not have yet.

    Args:
        configs: Paths relative to the working directory; the record names
            the configs by these paths.
        seeds: All configs run with one seed before the next seed begins.
        record: JSON file, rewritten after each run. If a config has changed,
            it runs again, and the new entry replaces the old one.
        options: New values by dotted key, for all configs.
        work_dir: Each run writes into a folder of its own below this one.
        teacher_checkpoint: See :func:`load_config`.
        jobs: Number of runs at a time, >= 1. Each has one thread.
        setting: Name of the options, in a record of several settings. Each
            setting has entries and folders of its own.

    Returns:
        All entries of the record, including those of earlier calls.

    Raises:
        UserError: If a path is absolute, ``jobs`` is below 1, the record
            cannot be read, or a run fails.
    """
    require_at_least('the comparison', 'jobs', jobs, 1)
    for config in configs:
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
        (entry['config'], entry['seed']): entry['fingerprint']
        for entry in entries if entry.get('setting') == setting
    }
    now = {config: _fingerprint(config, options) for config in configs}
    wanted = [(config, seed) for seed in seeds for config in configs
              if known.get((config, seed)) != now[config]]
    print(f'{len(wanted)} runs to do', flush=True)
    if setting is not None:
        work_dir = Path(work_dir, setting)
    with ProcessPoolExecutor(
            jobs, mp_context=multiprocessing.get_context('spawn')) as pool:
        futures = [
            pool.submit(_run, config, seed, options, os.fspath(work_dir),
                        teacher_checkpoint) for config, seed in wanted
        ]
        for future in as_completed(futures):
            new = future.result()
            if setting is not None:
                new = dict(setting=setting) | new
            entries = [entry for entry in entries if _key(entry) != _key(new)
                       ] + [new]
            entries.sort(key=_key)
            write_json(path, entries)
            print(
                new['config'],
                new['seed'],
                new['summary']['student_top1_last'],
                flush=True)
    return entries


def _key(entry: dict[str, Any]) -> tuple[str, str, int]:
    return entry.get('setting', ''), entry['config'], entry['seed']


def _fingerprint(config: str, options: Options) -> str:
    """A hash of a config with options, whatever the order of its keys."""
    content = load_config(config, options).to_dict()
    text = json.dumps(content, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _run(config: str, seed: int, options: Options, work_dir: str,
         teacher_checkpoint: str | None) -> dict[str, Any]:
    """Distil once in this process, and return the entry of the record."""
    torch.set_num_threads(1)
    path = Path(config)
    run = f'{path.parent.name}_{path.stem}/seed_{seed}'
    summary = distill(
        config,
        options=options,
        seed=seed,
        work_dir=str(Path(work_dir, run)),
        teacher_checkpoint=teacher_checkpoint)
    return dict(
        config=config,
        seed=seed,
        fingerprint=_fingerprint(config, options),
        commit=checkout_commit(),
        command=' '.join([
            f'python tools/train.py {config} --seed {seed}',
            *(['--cfg-options'] if options else []),
            *(f'{key}={value}' for key, value in (options or {}).items())
        ]),
        machine=f'{os.cpu_count()} cores, {platform.machine()}',
        threads=torch.get_num_threads(),
        summary=summary)


def comparison_table(records: Iterable[dict[str, Any]]) -> str:
    """A Markdown table with one row per config, the best config first.

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
        by_config.setdefault(record['config'], []).append(record)
    rows = [_row(config, runs) for config, runs in by_config.items()]
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


def _row(config: str, runs: list[dict]) -> tuple[float, list[str]]:
    """The accuracy that rows are sorted by, and the cells."""
    runs = sorted(runs, key=lambda run: run['seed'])
    summaries = [run['summary'] for run in runs]

    def mean(name: str) -> float:
        return statistics.fmean(summary[name] for summary in summaries)

    last = [summary['student_top1_last'] for summary in summaries]
    centre, spread = statistics.fmean(last), statistics.pstdev(last)
    return centre, [
        f'`{config.removeprefix("configs/")}`',
        ', '.join(str(run['seed'])
                  for run in runs), f'{centre:.2f} ± {spread:.2f}',
        f'{min(last):.2f}', f'{mean("student_top1_last_k_mean"):.2f}',
        f'{max(summary["student_top1_max"] for summary in summaries):.2f}',
        f'{mean("agreement_last"):.1f}', f'{mean("student_steps"):.0f}',
        f'{mean("generator_steps"):.0f}', f'{mean("images_generated"):.0f}',
        f'{mean("wall_seconds"):.0f}'
    ]
