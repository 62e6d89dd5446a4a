"""How the cost of an iteration grows, and whether memory does."""
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

from benchmarks.quiet_config import quiet_config
from tadfkd.apis import train
from tadfkd.errors import UserError, require_at_least

#: Half of the candidates each time, so that a step needs as many rounds at
#: every size.
_HALF = {'model.selector': dict(type='TopFractionSelector', fraction=0.5)}
_CLASSES = ('model.teacher.model.head.num_classes',
            'model.student.head.num_classes')


class IterationTimer(Hook):
    """Seconds of each iteration, everything included, and peak memory."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.peak_mib: list[float] = []

    def before_train_epoch(self, runner: Runner) -> None:
        """Start."""
        self.start = time.perf_counter()

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: Any = None,
                         outputs: Any = None) -> None:
        """Lap."""
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
                    repeats: int = 3) -> dict[str, Any]:
    """Measure iterations of one student and one generator step at several
    sizes, and fit how their time grows.

    Args:
        config: A config whose teacher and student are model dicts with a
            head, which all configs in the repository have.
        batch_sizes: At least two, each in runs of its own.
        class_counts: Likewise.
        options: See :func:`benchmark_step`.
        amp: See :func:`benchmark_step`.
        iterations: That are measured in each run.
        warmup: That come before.
        repeats: Runs of each size, >= 1; the sizes take turns, so that a
            machine which becomes slower does not look like growth.

    Returns:
        For ``batch_size`` and ``num_classes``: sizes, median seconds, the
        line ``intercept + slope * size`` with the least squared relative
        errors, the largest of these, and the power of the size that fits
        best.

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
            raise UserError(f'two sizes of {axis} are needed at least, got '
                            f'{list(sizes)}: name more of them')
        seconds: dict[int, list[float]] = {size: [] for size in sizes}
        for size in [*sizes] * repeats:
            changes = _HALF | (options or {}) | {
                'model.num_student_steps': 1,
                'model.num_generator_steps': 1
            } | dict.fromkeys(keys, size)
            timer = IterationTimer()
            with quiet_config(config, changes, amp, iterations,
                              warmup) as loaded:
                train(loaded, hooks=[timer])
            seconds[size] += timer.seconds[warmup:]
        report[axis] = growth(
            [*seconds], [statistics.median(laps) for laps in seconds.values()])
    return report


def benchmark_memory(config: str | os.PathLike,
                     options: dict[str, Any] | None = None,
                     amp: bool = False,
                     iterations: int = 10000,
                     warmup: int = 0) -> dict[str, Any]:
    """Peak memory after a tenth, a half and all of many iterations.

    Args:
        config: A config that distils, as it stands.
        options: See :func:`benchmark_step`.
        amp: See :func:`benchmark_step`.
        iterations: >= 10.
        warmup: That come before.

    Returns:
        ``iterations``, those before included, and ``peak_memory_mib``.

    Raises:
        UserError: If there are too few iterations, or the config cannot be
            used.
    """
    require_at_least('the benchmark', 'iterations', iterations, 10)
    timer = IterationTimer()
    with quiet_config(config, options, amp, iterations, warmup) as loaded:
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
    """The line and the power with the least squared relative errors.

    Args:
        sizes: > 0, at least two.
        seconds: > 0, as many.
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
    for axis, row in report.items():
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
    """The most memory so far: of the device, or of the whole process."""
    if device.type == 'cuda':
        # What torch has taken and does not give back; the count of its peak
        # is begun anew by each line of mmengine's log.
        return torch.cuda.memory_reserved(device) / 2**20
    # Kibibytes on Linux.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
