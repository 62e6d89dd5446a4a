"""Several configs over several seeds, recorded run by run."""
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

from tadfkd.apis.command_line import checkout_commit
from tadfkd.apis.config import load_config
from tadfkd.apis.runs import distill
from tadfkd.errors import UserError, require_at_least
from tadfkd.utils.files import write_atomically, write_json

Options = dict[str, Any] | None

#: What a table of results in a page lies between.
BEGIN, END = '<!-- comparison -->', '<!-- end of comparison -->'
_COLUMNS = ('config', 'seeds', 'student, last epoch', 'worst seed',
            'mean of the last {k}', 'best epoch (extra)', 'agreement',
            'student steps', 'generator steps', 'images generated', 'seconds')


def compare(configs: Sequence[str],
            seeds: Sequence[int],
            record: str | os.PathLike,
            options: Options = None,
            work_dir: str | os.PathLike = 'work_dirs/comparison',
            teacher_checkpoint: str | None = None,
            jobs: int = 1) -> list[dict[str, Any]]:
    """Distil by every config with every seed, as far as the record lacks it.

    Args:
        configs: Paths as they are to stand in the record, relative to the
            working directory.
        seeds: All configs have run with one before the next begins.
        record: JSON file, written anew after each run; a run of a config
            that has changed since takes the place of its entry.
        options: Dotted keys and values for all configs.
        work_dir: Where the runs write, each into a folder of its own.
        teacher_checkpoint: See :func:`load_config`.
        jobs: Runs at a time, each in a process with one thread, >= 1.

    Returns:
        The entries of the record, those of earlier calls included.

    Raises:
        UserError: If a path is absolute, there are fewer jobs than one, the
            record cannot be read, or a run cannot be done.
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
        raise UserError(f'the record {record} is no JSON ({error}): name '
                        'another file, or remove it') from error
    known = {
        (entry['config'], entry['seed']): entry['fingerprint']
        for entry in entries
    }
    now = {config: _fingerprint(config, options) for config in configs}
    wanted = [(config, seed) for seed in seeds for config in configs
              if known.get((config, seed)) != now[config]]
    print(f'{len(wanted)} runs to do', flush=True)
    with ProcessPoolExecutor(
            jobs, mp_context=multiprocessing.get_context('spawn')) as pool:
        futures = [
            pool.submit(_run, config, seed, options, os.fspath(work_dir),
                        teacher_checkpoint) for config, seed in wanted
        ]
        for future in as_completed(futures):
            new = future.result()
            key = new['config'], new['seed']
            entries = [
                entry
                for entry in entries if (entry['config'], entry['seed']) != key
            ] + [new]
            entries.sort(key=lambda entry: (entry['config'], entry['seed']))
            write_json(path, entries)
            print(*key, new['summary']['student_top1_last'], flush=True)
    return entries


def _fingerprint(config: str, options: Options) -> str:
    """What tells whether a config, with options, has changed; the order of
    its keys does not matter."""
    content = load_config(config, options).to_dict()
    text = json.dumps(content, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _run(config: str, seed: int, options: Options, work_dir: str,
         teacher_checkpoint: str | None) -> dict[str, Any]:
    """One distillation in this process, as an entry of the record."""
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
    """One row a config, best mean of the last epoch first, in Markdown.

    Args:
        records: Each with ``config`` (path), ``seed`` and ``summary`` (of a
            run, as in its ``summary.json``).

    Returns:
        A table. Accuracies and agreement in percent; mean and population
        standard deviation over seeds (0 for one seed); other figures are
        means over seeds. All runs were evaluated.
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
    """The figure that rows are sorted by, and the cells."""
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


def rewrite_table(page: str | os.PathLike, table: str) -> None:
    """Put another table between the marks of a file; see
    :func:`replace_table`."""
    text = replace_table(Path(page).read_text(), table)
    write_atomically(page, text.encode())


def replace_table(page: str, table: str) -> str:
    """The page with another table between its marks.

    Raises:
        ValueError: If the page has no such marks.
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f'the page has no {BEGIN} ... {END}')
    return f'{head}{BEGIN}\n\n{table}\n\n{END}{tail}'
