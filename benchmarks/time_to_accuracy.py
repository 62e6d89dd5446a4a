"""The wall time until a student is nearly as good as its teacher."""
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmengine.hooks import Hook
from mmengine.runner import Runner

from benchmarks.records import described, processor_of
from benchmarks.teachers import FASHION_METHODS, METHODS
from tadfkd.apis import load_config, train
from tadfkd.engine.hooks import SummaryHook
from tadfkd.errors import UserError, nearest, require_at_least
from tadfkd.utils.files import write_json

#: Of the teacher's accuracy, which ends a run.
SHARE = 0.97
_NAMES = 'TA-DFKD', 'AgnosticDFKD', 'Fast-DFKD', 'NAYER'
#: By task and method: a config, and the options that make its student steps
#: those of the others.
TASKS = {
    'digits': {
        name: METHODS[name]
        for name in _NAMES
    },
    'Fashion-MNIST': {
        name: FASHION_METHODS[name]
        for name in _NAMES if name in FASHION_METHODS
    }
}


def benchmark_times(tasks: Sequence[str] | None, methods: Sequence[str] | None,
                    seeds: Sequence[int], threads: int,
                    record: str | os.PathLike,
                    plot: str | os.PathLike | None) -> list[dict[str, Any]]:
    """Make the runs that a record does not have yet, one at a time.

    Plain and fast runs of all methods take turns. A run begins with the
    teacher's weights on the disk, is evaluated after each epoch, and ends
    when the student has :data:`SHARE` of the teacher's accuracy. Its clock
    starts when the imports are done.

    Args:
        tasks: Names in :data:`TASKS`; None takes all.
        methods: Likewise of the methods of a task.
        seeds: Of the runs.
        threads: Of torch, >= 1.
        record: JSON file, rewritten after each run.
        plot: A PNG file for the accuracy over time of all entries, or None.

    Returns:
        All entries of the record.

    Raises:
        UserError: If a name is unknown, or a run fails.
    """
    require_at_least('the benchmark', 'threads', threads, 1)
    for kind, names, known in (('task', tasks, TASKS), ('method', methods,
                                                        _NAMES)):
        for name in names or ():
            if name not in known:
                raise UserError(f'there is no {kind} {name!r}: '
                                f'{nearest(name, known)}')
    chosen = [(task, method) for task in tasks or TASKS
              for method in methods or TASKS[task] if method in TASKS[task]]
    if not chosen:
        raise UserError(f'no task has one of the methods {methods}: name '
                        'another task or method')
    path = Path(record)
    entries = json.loads(path.read_text()) if path.is_file() else []
    here = processor_of(described({}))
    done = {(processor_of(entry), *_key(entry)) for entry in entries}
    for seed in seeds:
        for task, method in chosen:
            for fast in False, True:
                if (here, task, method, fast, seed) in done:
                    continue
                # A fresh process, as that of a user.
                with ProcessPoolExecutor(
                        1, mp_context=multiprocessing.get_context(
                            'spawn')) as pool:
                    entries.append(
                        described(
                            dict(task=task, method=method)
                            | pool.submit(timed_run, *TASKS[task][method],
                                          fast, seed, threads).result()))
                write_json(path, entries)
    if plot is not None:
        draw_times(entries, plot)
    return entries


def _key(entry: dict[str, Any]) -> tuple[str, str, bool, int]:
    return entry['task'], entry['method'], entry['fast'], entry['seed']


def _place(entry: dict[str, Any]) -> str:
    """The task, and the kind of processor if it is known."""
    return ', '.join(filter(None, (entry['task'], processor_of(entry))))


def timed_run(config: str, options: dict[str, Any], fast: bool, seed: int,
              threads: int) -> dict[str, Any]:
    """One run, to its end or until the student is good enough.

    Returns:
        ``teacher_top1`` in percent, and the ``points`` of the run: student
        steps, seconds and accuracy of each evaluation.
    """
    torch.set_num_threads(threads)
    clock = _Clock()
    with tempfile.TemporaryDirectory() as work_dir:
        train(
            load_config(
                config, options, work_dir=work_dir, seed=seed, fast=fast),
            hooks=[clock])
    return dict(
        fast=fast,
        seed=seed,
        threads=threads,
        teacher_top1=clock.teacher_top1,
        points=clock.points)


class _Clock(Hook):
    """Notes (student steps, seconds, accuracy) of each evaluation."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.teacher_top1 = 0.0
        self.points: list[tuple[int, float, float]] = []

    def after_val_epoch(self,
                        runner: Runner,
                        metrics: dict[str, float] | None = None) -> None:
        """Stop the run if the student is good enough."""
        assert metrics is not None
        top1 = metrics['accuracy/top1']
        self.points.append((runner.model.counters.student_steps,
                            time.perf_counter() - self.start, top1))
        [summary
         ] = [hook for hook in runner.hooks if isinstance(hook, SummaryHook)]
        self.teacher_top1 = summary.history['teacher_top1']
        if top1 >= SHARE * self.teacher_top1:
            runner.train_loop.stop_training = True


def reached(entry: dict[str, Any]) -> tuple[int, float] | None:
    """(student steps, seconds) of the first evaluation with :data:`SHARE`
    of the teacher's accuracy, or None."""
    return next(((steps, seconds) for steps, seconds, top1 in entry['points']
                 if top1 >= SHARE * entry['teacher_top1']), None)


def times_table(entries: Sequence[dict[str, Any]]) -> str:
    """A Markdown table with one row per task, processor and method.

    Seconds and steps are medians over the seeds that reached the accuracy.
    """
    lines = [[
        'task, processor', 'method', 'seeds', 'seconds', 'seconds, `--fast`',
        'student steps', 'student steps, `--fast`'
    ], ['---'] * 7]
    rows: dict[tuple[str, str], dict[bool, list[dict[str, Any]]]] = {}
    for entry in entries:
        rows.setdefault((_place(entry), entry['method']),
                        {}).setdefault(entry['fast'], []).append(entry)
    for (task, method), row in rows.items():
        found = [[reached(entry) for entry in row.get(fast, [])]
                 for fast in (False, True)]
        seeds = sorted({entry['seed'] for of in row.values() for entry in of})
        lines.append([
            task, method, ', '.join(map(str, seeds)),
            *(_median(of, which) for which in (1, 0) for of in found)
        ])
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _median(found: Sequence[tuple[int, float] | None], which: int) -> str:
    values = [pair[which] for pair in found if pair is not None]
    if not values:
        return 'never' if found else '-'
    text = f'{statistics.median(values):.0f}'
    return text if len(values) == len(found) else \
        f'{text} ({len(values)} of {len(found)} runs)'


def draw_times(entries: Sequence[dict[str, Any]],
               path: str | os.PathLike) -> None:
    """Draw accuracy over time, one panel per task and processor."""
    tasks = list(dict.fromkeys(map(_place, entries)))
    figure = Figure(figsize=(5 * len(tasks), 4), layout='constrained')
    for place, task in enumerate(tasks):
        axes = figure.add_subplot(1, len(tasks), place + 1)
        seen: set[str] = set()
        for entry in entries:
            if _place(entry) != task:
                continue
            label = entry['method'] + ', --fast' * entry['fast']
            _, seconds, top1 = zip(*entry['points'])
            axes.plot(
                seconds,
                [100 * value / entry['teacher_top1'] for value in top1],
                '-' if entry['fast'] else ':',
                marker='.',
                color=f'C{_NAMES.index(entry["method"])}',
                label=None if label in seen else label)
            seen.add(label)
        axes.axhline(100 * SHARE, color='0.6', linewidth=0.8)
        axes.set(title=task, xlabel='seconds', ylim=(0, 103))
        axes.legend(frameon=False, fontsize=8)
    figure.axes[0].set_ylabel("percent of the teacher's accuracy")
    FigureCanvasAgg(figure).print_png(str(path))
