"""The time of an iteration by phase and by operator."""
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.autograd import DeviceType
from torch.profiler import profile, record_function

from benchmarks.benchmark_config import benchmark_config
from tadfkd.apis import train

#: Methods of an algorithm and their names in the table. An algorithm need not
#: have all of them. The time of a phase includes the phases that it calls.
PHASES = dict(
    student_step='student step',
    generator_step='generator step',
    generator_losses='losses of the generator',
    update='backward and optimiser')


def profile_training(config: str | os.PathLike,
                     options: dict[str, Any] | None = None,
                     amp: bool = False,
                     iterations: int = 3,
                     warmup: int = 1,
                     fast: bool = False,
                     trace: str | os.PathLike | None = None) -> str:
    """Profile iterations of any algorithm.

    Args:
        config: Path of a config that distils.
        options: See :func:`benchmark_config`.
        amp: Whether forward passes are in bfloat16.
        iterations: Profiled iterations, >= 1.
        warmup: Iterations before these, >= 0.
        fast: See :func:`benchmark_config`.
        trace: File for a trace that Perfetto and Chrome can show.

    Returns:
        Markdown: the phases, then the operators with the most time of their
        own.

    Raises:
        UserError: If the config cannot be used.
    """
    hook = _Profiler(warmup, iterations)
    with benchmark_config(config, options, amp, iterations, warmup,
                          fast) as loaded:
        train(loaded, hooks=[hook])
    if trace is not None:
        hook.profile.export_chrome_trace(str(Path(trace)))
    return hook.table()


class _Profiler(Hook):
    """Records all iterations after the warm-up."""

    def __init__(self, warmup: int, iterations: int) -> None:
        self.warmup = warmup
        self.iterations = iterations
        self.profile = profile()

    def before_train_epoch(self, runner: Runner) -> None:
        """Wrap the phases, so that the profile has their names."""
        for name in PHASES:
            if hasattr(runner.model, name):
                setattr(runner.model, name,
                        _named(getattr(runner.model, name), PHASES[name]))

    def before_train_iter(self,
                          runner: Runner,
                          batch_idx: int,
                          data_batch: Any = None) -> None:
        """Start to record."""
        if batch_idx == self.warmup:
            self.profile.start()

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: Any = None,
                         outputs: Any = None) -> None:
        """Stop to record."""
        if batch_idx == self.warmup + self.iterations - 1:
            self.profile.stop()

    def table(self) -> str:
        """The record in seconds per iteration."""
        # A GPU has other rows with the same names.
        rows = {
            row.key: row
            for row in self.profile.key_averages()
            if row.device_type == DeviceType.CPU
        }
        operators = sorted(
            (row for row in rows.values() if row.key not in PHASES.values()),
            key=lambda row: -row.self_cpu_time_total)
        whole = sum(row.self_cpu_time_total for row in rows.values())
        lines = ['| phase | calls | seconds | share |', '| --- ' * 4 + '|']
        lines += [
            self._row(rows[name], rows[name].cpu_time_total, whole)
            for name in PHASES.values() if name in rows
        ]
        lines += [
            '', '| operator | calls | own seconds | share |',
            '| --- ' * 4 + '|'
        ]
        lines += [
            self._row(row, row.self_cpu_time_total, whole)
            for row in operators[:12]
        ]
        return '\n'.join(lines)

    def _row(self, row: Any, microseconds: float, whole: float) -> str:
        return (f'| {row.key} | {row.count / self.iterations:.1f} | '
                f'{microseconds / self.iterations / 1e6:.4f} | '
                f'{100 * microseconds / whole:.1f} % |')


def _named(function: Callable, name: str) -> Callable:

    def named(*arguments: Any, **keywords: Any) -> Any:
        with record_function(name):
            return function(*arguments, **keywords)

    return named
