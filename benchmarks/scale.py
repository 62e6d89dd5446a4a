"""How the time of an iteration grows, and whether memory grows."""
import os
import resource
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from benchmarks.benchmark_config import benchmark_config
from tadfkd.apis import train
from tadfkd.errors import UserError, require_at_least

#: Half of the candidates are selected, so that a step needs the same number of
#: rounds at every size.
_HALF = {'model.selector': dict(type='TopFractionSelector', fraction=0.5)}
_CLASSES = ('model.teacher.model.head.num_classes',
            'model.student.head.num_classes')


class IterationTimer(Hook):
    """Records the seconds and the peak memory of each iteration."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.peak_mib: list[float] = []

    def before_train_epoch(self, runner: Runner) -> None:
        """Start the clock."""
        self.start = time.perf_counter()

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: Any = None,
                         outputs: Any = None) -> None:
        """Record an iteration."""
        device = runner.model.device
        if device.type == 'cuda':
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds.append(now - self.start)
        self.peak_mib.append(peak_mib(device))
        self.start = now


def benchmark_scale(config: str | os.PathLike,
                    batch_sizes: Sequence[int],
                    class_counts: Sequence[int],
                    options: dict[str, Any] | None = None,
                    amp: bool = False,
                    iterations: int = 7,
                    warmup: int = 2,
                    repeats: int = 3,
                    fast: bool = False) -> dict[str, Any]:
    """Measure the time of an iteration at several sizes and fit its growth.

    An iteration has one student step and one generator step.

    Args:
        config: Path of a config whose teacher and student are model dicts
            with a head.
        batch_sizes: At least two different sizes.
        class_counts: At least two different numbers of classes.
        options: See :func:`benchmark_config`.
        amp: Whether forward passes are in bfloat16.
        iterations: Measured iterations per run, >= 1.
        warmup: Iterations before these, >= 0.
        repeats: Runs per size, >= 1. The sizes take turns, so that a machine
            that becomes slower does not look like growth.
        fast: See :func:`benchmark_config`.

    Returns:
        For ``batch_size`` and ``num_classes``: sizes, median seconds, the
        line ``intercept + slope * size`` with the least squared relative
        errors, the largest relative error, and the power of the size that
        fits best.

    Raises:
        UserError: If there are too few sizes, or the config cannot be used.
    """
    require_at_least('the benchmark', 'repeats', repeats, 1)
    axes: dict[str, tuple[tuple[str, ...], Sequence[int]]] = dict(
        batch_size=(('model.batch_size', ), batch_sizes),
        num_classes=(_CLASSES, class_counts))
    report: dict[str, Any] = {}
    for axis, (keys, sizes) in axes.items():
        if len(set(sizes)) < 2:
            raise UserError(f'{axis} needs at least two different sizes, got '
                            f'{list(sizes)}: name more of them')
        seconds: dict[int, list[float]] = {size: [] for size in sizes}
        for size in [*sizes] * repeats:
            changes = _HALF | (options or {}) | {
                'model.num_student_steps': 1,
                'model.num_generator_steps': 1
            } | dict.fromkeys(keys, size)
            timer = IterationTimer()
            with benchmark_config(config, changes, amp, iterations, warmup,
                                  fast) as loaded:
                train(loaded, hooks=[timer])
            seconds[size] += timer.seconds[warmup:]
        report[axis] = growth(
            [*seconds], [statistics.median(laps) for laps in seconds.values()])
    return report


def benchmark_memory(config: str | os.PathLike,
                     options: dict[str, Any] | None = None,
                     amp: bool = False,
                     iterations: int = 10000,
                     warmup: int = 0,
                     fast: bool = False) -> dict[str, Any]:
    """Peak memory after a tenth, a half and all of many iterations.

    Args:
        config: Path of a config that distils.
        options: See :func:`benchmark_config`.
        amp: Whether forward passes are in bfloat16.
        iterations: Measured iterations, >= 10.
        warmup: Iterations before these, >= 0.
        fast: See :func:`benchmark_config`.

    Returns:
        ``iterations``, warm-up included, and ``peak_memory_mib``.

    Raises:
        UserError: If there are too few iterations, or the config cannot be
            used.
    """
    require_at_least('the benchmark', 'iterations', iterations, 10)
    timer = IterationTimer()
    with benchmark_config(config, options, amp, iterations, warmup,
                          fast) as loaded:
        train(loaded, hooks=[timer])
    total = len(timer.peak_mib)
    numbers = [total // 10, total // 2, total]
    return dict(
        iterations=numbers,
        peak_memory_mib=[timer.peak_mib[number - 1] for number in numbers])


def memory_table(report: dict[str, Any]) -> str:
    """The figures of :func:`benchmark_memory` as Markdown."""
    rows = zip(report['iterations'], report['peak_memory_mib'])
    return '\n'.join([
        '| iterations | peak memory MiB |', '| --- | --- |',
        *(f'| {number} | {peak:.1f} |' for number, peak in rows)
    ])


def growth(sizes: Sequence[float], seconds: Sequence[float]) -> dict[str, Any]:
    """Fit a line and a power by least squared relative errors.

    Args:
        sizes: At least two, > 0.
        seconds: One per size, > 0.
    """
    slope, intercept = np.polyfit(sizes, seconds, 1, w=1 / np.array(seconds))
    power, _ = np.polyfit(np.log(sizes), np.log(seconds), 1)
    residuals = np.polyval([slope, intercept], sizes) - seconds
    return dict(
        sizes=list(sizes),
        seconds=list(seconds),
        intercept=float(intercept),
        slope=float(slope),
        largest_residual=float(np.abs(residuals / seconds).max()),
        power=float(power))


def scale_table(report: dict[str, Any]) -> str:
    """The figures of :func:`benchmark_scale` as Markdown."""
    blocks = []
    for axis in ('batch_size', 'num_classes'):
        row = report[axis]
        lines = [f'| {axis} | seconds |', '| --- | --- |']
        lines += [
            f'| {size} | {seconds:.4f} |'
            for size, seconds in zip(row['sizes'], row['seconds'])
        ]
        lines += [
            '', f'{row["intercept"]:.4f} s + {row["slope"]:.3g} s x {axis}, '
            f'within {100 * row["largest_residual"]:.1f} %; best power '
            f'{row["power"]:.2f}'
        ]
        blocks.append('\n'.join(lines))
    return '\n\n'.join(blocks)


def peak_mib(device: torch.device) -> float:
    """The largest memory so far, of the GPU or of the whole process."""
    if device.type == 'cuda':
        # Memory that torch reserved. mmengine's logger resets torch's count
        # of the peak.
        return torch.cuda.memory_reserved(device) / 2**20
    # Linux counts kibibytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
