"""What the console shows of a run. The log file has everything."""
import contextlib
import logging
import re
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from torch import nn

from tadfkd.algorithms import BaseDFKD
from tadfkd.classifiers.configs import bare_type
from tadfkd.classifiers.own_network import name_of
from tadfkd.distributed.wrapper import unwrapped
from tadfkd.engine.hooks.looking import never_ends_a_run
from tadfkd.engine.hooks.summary import SummaryHook

#: Messages for the file alone: the preamble, what a shorter line says too, and
#: warnings on which no user can act.
_FILE_ONLY = (
    r'\s*-+\s*System environment|Config:\s|Hooks will be executed|'
    r'Distributed training is not used|Exp name: |teacher: (\{|OK$)|'
    r'Epoch\((synthetic|val)\)|Loads checkpoint by|'
    r'"(FileClient|HardDiskBackend)" |Please make sure that the mlflow server')
#: Further ones, where the live line says them.
_LIVE = r'|(Epoch|Iter)\(train\)|Saving checkpoint|Checkpoints will be saved'
#: Seconds from one live line to the next.
_INTERVAL = 0.5
#: Columns from which the live line has a bar.
_WIDE = 100


def shorten_console(logger: logging.Logger) -> None:
    """Let the console have what a person reads. Log files stay as they are.

    Args:
        logger: The logger of a run.
    """
    console = Console()
    # An environment variable may make rich believe in a terminal.
    live = console.is_interactive and sys.stdout.isatty()
    hidden = re.compile(_FILE_ONLY + _LIVE * (live or console.is_jupyter))
    for index, handler in enumerate(logger.handlers):
        if type(handler) is logging.StreamHandler:
            if live:
                handler = logger.handlers[index] = _Terminal(console, handler)
            handler.addFilter(
                lambda record: not hidden.match(record.getMessage()))


class _Terminal(logging.StreamHandler):
    """Writes above the live line, without time and level."""

    def __init__(self, console: Console,
                 replaced: logging.StreamHandler) -> None:
        super().__init__(replaced.stream)
        self.console = console
        self.setLevel(replaced.level)
        self.filters = replaced.filters

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message; the terminal breaks its lines."""
        is_warning = record.levelno >= logging.WARNING
        try:
            text = ('warning: ' if is_warning else '') + self.format(record)
            self.console.print(
                Text(text, 'yellow' if is_warning else ''), soft_wrap=True)
        except Exception:
            self.handleError(record)


class ProgressHook(Hook):
    """Shows what runs, a live line on a terminal, and a line per epoch.

    After :meth:`close`, the terminal is as before.
    """

    def __init__(self) -> None:
        self._live: Live | None = None
        self._next_time = 0.0
        self._runner: Runner | None = None
        self._losses: dict[str, float] | None = None
        # For a run without SummaryHook.
        self._epochs: list[dict[str, Any]] = []

    def close(self) -> None:
        """End the live line, however the run has ended."""
        # The terminal may be gone.
        with contextlib.suppress(Exception):
            if self._live is not None:
                self._live.stop()
        self._live = None

    def before_run(self, runner: Runner) -> None:
        """Begin the live line."""
        self._runner = runner if is_main_process() else None
        for handler in runner.logger.handlers:
            if isinstance(handler, _Terminal) and self._runner:
                self._live = Live(
                    Text('before the first step ...'),
                    console=handler.console,
                    auto_refresh=False,
                    transient=True)
                self._live.start(refresh=True)

    @never_ends_a_run
    def before_train(self, runner: Runner) -> None:
        """Say what runs."""
        summary = _summary_of(runner)
        top1 = None
        if summary is not None:
            self._epochs = summary.history['epochs']
            top1 = summary.history['teacher_top1']
        if self._runner is not None:
            runner.logger.info(_what_runs(runner, top1))

    def before_train_epoch(self, runner: Runner) -> None:
        """Sum up the epoch before, if it was not validated."""
        self._end_epoch()

    def after_train_iter(self, runner: Runner, *args: Any,
                         **kwargs: Any) -> None:
        """Draw the live line again, twice per second at most."""
        self._draw(runner)

    def after_val_iter(self, runner: Runner, *args: Any,
                       **kwargs: Any) -> None:
        """Draw the live line again while an epoch is validated."""
        self._draw(runner, 'validation')

    def after_train_epoch(self, runner: Runner) -> None:
        """Note the mean losses of the epoch, which may be validated yet."""
        size = len(runner.train_dataloader)
        self._losses = {
            name.removeprefix('train/'): float(values.mean(size))
            for name, values in runner.message_hub.log_scalars.items()
            if re.fullmatch('train/(.*_total|loss)', name)
        }
        if runner.val_loop is None:
            self._end_epoch()

    def after_val_epoch(self,
                        runner: Runner,
                        metrics: dict[str, float] | None = None) -> None:
        """Sum up the epoch."""
        if metrics and _summary_of(runner) is None:
            self._epochs.append(
                dict(metrics, student_top1=metrics.get('accuracy/top1')))
        self._end_epoch()

    def after_train(self, runner: Runner) -> None:
        """Sum up the last epoch."""
        self._end_epoch()

    def _end_epoch(self) -> None:
        losses, self._losses = self._losses, None
        runner = self._runner
        if losses is None or runner is None:
            return
        # The loop counts an epoch after its hooks, which may have failed.
        epoch = -(-runner.iter // len(runner.train_dataloader))
        parts = [f'epoch {epoch}/{runner.max_epochs}']
        parts += [f'{name} {value:.4g}' for name, value in losses.items()]
        entry = self._epochs[-1] if self._epochs else {}
        for key, text in (('agreement', 'agreement {:.1f} %'),
                          ('kappa', 'kappa {:.2f}'), ('student_top1',
                                                      'top-1 {:.1f} %')):
            if entry.get(key) is not None:
                parts.append(text.format(entry[key]))
        runner.logger.info('  '.join(parts))

    def _draw(self, runner: Runner, doing: str | None = None) -> None:
        now = time.monotonic()
        if self._live is None or now < self._next_time:
            return
        self._next_time = now + _INTERVAL
        try:
            # The terminal writes ^C behind the line.
            width = self._live.console.width - 3
            done, total = _steps(runner)
            parts = [f'step {done}/{total}']
            eta = runner.message_hub.runtime_info.get('eta')
            if doing is not None:
                parts.append(doing)
            elif eta is not None:
                parts.append(f'eta {timedelta(seconds=int(eta))}')
            parts += measured(self._epochs)
            line = Table.grid(padding=(0, 2))
            if width < _WIDE:
                line.add_row(live_line(parts, width))
            else:
                line.add_row(
                    ProgressBar(total, done, 20, complete_style='cyan'),
                    live_line(parts, width - 22))
            self._live.update(line, refresh=True)
        except Exception as error:
            self.close()
            runner.logger.warning(f'there is no live line any more: {error!r}')


def live_line(parts: list[str], width: int) -> Text:
    """The first parts, as many as a line of that width holds."""
    while len('  '.join(parts)) > width and len(parts) > 1:
        parts = parts[:-1]
    line = Text('  '.join(parts), no_wrap=True, overflow='ellipsis')
    line.highlight_regex(r'\bhealthy', 'green')
    line.highlight_regex('unhealthy', 'bold red')
    return line


def measured(epochs: list[dict[str, Any]]) -> list[str]:
    """What a person wants to know of the epochs so far, most wanted first.

    Args:
        epochs: Entries of ``history.json``.

    Example:
        >>> measured([dict(student_top1=9.2), dict(student_top1=9.1)])
        ['top-1 9.1 %', 'best 9.2 %']
    """
    parts = []
    for key, name in ('student_top1', 'top-1'), ('agreement', 'agreement'):
        values = [entry[key] for entry in epochs if entry.get(key) is not None]
        if values:
            parts = [f'{name} {values[-1]:.1f} %', f'best {max(values):.1f} %']
            break
    if epochs and 'findings' in epochs[-1]:
        parts.insert(1, 'unhealthy' if epochs[-1]['findings'] else 'healthy')
    return parts


def _steps(runner: Runner) -> tuple[int, int]:
    """Steps of the student so far and in the whole run."""
    model = unwrapped(runner.model)
    if isinstance(model, BaseDFKD):
        return model.counters.student_steps, model.total_student_steps
    return min(runner.iter + 1, runner.max_iters), runner.max_iters


def _what_runs(runner: Runner, top1: float | None) -> str:
    part, model = runner.cfg.model, unwrapped(runner.model)
    what = f'training {_name(part, model)}'
    if isinstance(model, BaseDFKD):
        what = (
            f'{bare_type(part)}: {_name(part.teacher, model.teacher.network)} '
            f'teaches {_name(part.student, model.student)}')
    if top1 is not None:
        what += f', teacher top-1 {top1:.2f} %'
    log = Path(runner.logger.log_file).relative_to(runner.work_dir)
    return (f'{what}\n{_steps(runner)[1]} steps, work directory '
            f'{runner.work_dir}, log {log}')


def _name(part: Any, network: nn.Module) -> str:
    """The name and the size of the network of a config."""
    size = sum(weight.numel() for weight in network.parameters()) / 1e6
    while isinstance(part, dict):
        keys = 'model', 'model_name', 'backbone', 'factory'
        inner = next((part[key] for key in keys if part.get(key)), None)
        if inner is None:
            inner = f'{bare_type(part)}-{part.get("depth", "")}'.strip('-')
        part = inner
    return f'{name_of(part).removesuffix(".py")} ({size:.2f} M weights)'


def _summary_of(runner: Runner) -> SummaryHook | None:
    return next(
        (hook for hook in runner.hooks if isinstance(hook, SummaryHook)), None)
