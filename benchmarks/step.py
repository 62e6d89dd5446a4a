"""Compare a training iteration with a plain loop and with its passes."""
import os
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from benchmarks.bare_loop import BareLoop
from benchmarks.benchmark_config import benchmark_config
from benchmarks.floor import Floor, Needs, flops
from benchmarks.scale import peak_mib
from benchmarks.step_report import STEPS, Iteration, medians
from tadfkd.apis import train
from tadfkd.apis.fast import uses_autocast
from tadfkd.errors import UserError, require_at_least


def benchmark_step(config: str | os.PathLike,
                   options: dict[str, Any] | None = None,
                   amp: bool = False,
                   iterations: int = 7,
                   warmup: int = 2,
                   fast: bool = False) -> dict[str, Any]:
    """Measure an iteration of TA-DFKD: one student and one generator step.

    Framework, plain loop and passes run in turn within each iteration of one
    process, so that a busy machine slows all three. Ratios are taken per
    iteration.

    Args:
        config: Path of a config of ``configs/tadfkd/``.
        options: See :func:`benchmark_config`. The numbers of steps stay 1,
            and there is no augmentation.
        amp: Whether forward passes are in bfloat16.
        iterations: Measured iterations, >= 1.
        warmup: Iterations before these, >= 1.
        fast: See :func:`benchmark_config`.

    Returns:
        Medians; :func:`step_table` says what they are.

    Raises:
        UserError: If the config is of another algorithm.
    """
    require_at_least('the benchmark', 'warmup', warmup, 1)
    # As in examples/tadfkd_plain.py, which is the plain loop.
    plain = {
        'model.num_student_steps': 1,
        'model.num_generator_steps': 1,
        'model.augment': None
    }
    hook = _Stopwatch(warmup)
    with benchmark_config(config, (options or {}) | plain, amp, iterations,
                          warmup, fast) as loaded:
        train(loaded, hooks=[hook])
        amp = uses_autocast(loaded)
    if not hook.iterations:
        raise UserError('the run had no iteration to measure: do not set '
                        'train_dataloader.dataset.num_steps')
    return hook.report(amp)


class _Stopwatch(Hook):
    """Times an iteration, then the plain loop and the passes.

    It is the last hook, so the time of other hooks counts as the framework's.
    """

    def __init__(self, warmup: int) -> None:
        self.warmup = warmup
        self.iterations: list[Iteration] = []
        self.seconds: dict[str, float] = defaultdict(float)
        self.warmup_s = 0.0

    def before_train_epoch(self, runner: Runner) -> None:
        """Build the plain loop and the passes from the untrained model."""
        self.model = runner.model
        self.bare = BareLoop(runner.model, runner.optim_wrapper)
        self.floor = Floor(runner.model, runner.optim_wrapper)
        for name in STEPS:
            self._time_step(name)
        self.start = self._now()

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: Any = None,
                         outputs: Any = None) -> None:
        """Stop the framework's clock, then time the plain loop and passes."""
        whole = self._now() - self.start
        steps = {step: self.seconds.pop(step) for step in STEPS}
        outside = whole - sum(steps.values())
        iteration = Iteration(
            Needs(self.rounds, self.selected), steps | dict(outside=outside))
        if batch_idx == self.warmup:
            self.peak_mib = peak_mib(self.model.device)
        for step in STEPS:
            iteration.bare[step] = self._timed(
                getattr(self.bare, f'{step}_step'))
        for step, passes in self.floor.passes(iteration.needs).items():
            iteration.passes[step] = {
                name: (count, self._timed(function))
                for name, (count, function) in passes.items() if count
            }
        if batch_idx < self.warmup:
            self.warmup_s += whole
        else:
            self.iterations.append(iteration)
        self.start = self._now()

    def report(self, amp: bool) -> dict[str, Any]:
        """The medians, memory and GFLOP/s."""
        device = self.model.device
        # Counted once, for one iteration.
        gflop = {
            step: {
                name: flops(function) / 1e9
                for name, (count, function) in passes.items() if count
            }
            for step, passes in self.floor.passes(
                self.iterations[-1].needs).items()
        }
        dtype = torch.bfloat16 if amp else torch.float32
        return dict(
            device=device.type,
            threads=torch.get_num_threads(),
            dtype='bfloat16' if amp else 'float32',
            batch_size=self.model.batch_size,
            peak_memory_mib=self.peak_mib,
            warmup_s=self.warmup_s,
            gflops_peak=_matrix_product_peak(device, dtype),
            **medians(self.iterations, gflop, self.model.batch_size))

    def _time_step(self, name: str) -> None:
        step = getattr(self.model, f'{name}_step')
        counters = self.model.counters

        def timed(*arguments: Any) -> Any:
            generated, selected = (counters.images_generated,
                                   counters.images_selected)
            start = self._now()
            losses = step(*arguments)
            self.seconds[name] += self._now() - start
            if name == 'student':
                self.rounds = (counters.images_generated -
                               generated) // self.model.batch_size
            else:
                self.selected = counters.images_selected - selected
            return losses

        setattr(self.model, f'{name}_step', timed)

    def _timed(self, function: Callable[[], Any]) -> float:
        start = self._now()
        function()
        return self._now() - start

    def _now(self) -> float:
        if self.model.device.type == 'cuda':
            torch.cuda.synchronize()
        return time.perf_counter()


def _matrix_product_peak(device: torch.device, dtype: torch.dtype) -> float:
    """GFLOP/s of the fastest large matrix product within one second."""
    size = 8192 if device.type == 'cuda' else 1024
    left = torch.randn(size, size, device=device).to(dtype)
    best, begin, end = float('inf'), time.perf_counter(), 0.0
    # Not a fixed number: without bfloat16 instructions one takes seconds.
    while end < begin + 1:
        start = time.perf_counter()
        left @ left
        if device.type == 'cuda':
            torch.cuda.synchronize()
        end = time.perf_counter()
        best = min(best, end - start)
    return 2 * size**3 / best / 1e9
