"""A run that has collapsed is noticed, and ended on request."""
from pathlib import Path
from typing import Any, Literal

from mmengine.dist import (all_gather_object, broadcast_object_list,
                           is_main_process)
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner
from torch import nn

from tadfkd.distributed.wrapper import unwrapped
from tadfkd.engine.hooks.report import ReportHook
from tadfkd.engine.hooks.summary import SummaryHook
from tadfkd.engine.hooks.training_state import TrainingStateHook
from tadfkd.errors import (UnhealthyRun, UserError, require_at_least,
                           require_choice)
from tadfkd.evaluation.health_rules import Thresholds, find_problems
from tadfkd.registry import HOOKS


@HOOKS.register_module()
class HealthHook(Hook):
    """Judges what the :class:`SummaryHook` has measured in an epoch.

    An epoch beyond a threshold is unhealthy. The log then has a warning, and
    ``history.json`` and ``summary.json`` name the epoch. With ``'stop'`` the
    run also ends, before the unhealthy epoch is saved.

    Two things end a run whatever the action: many skipped steps in a row, and
    a weight that is not finite when a checkpoint is about to be saved. A run
    that this hook ends exits with code 3.

    Args:
        action: ``'warn'`` or ``'stop'``.
        thresholds: Replacements for defaults of
            :class:`~tadfkd.evaluation.health_rules.Thresholds`.
        warmup_epochs: Epochs at the beginning that are not judged, >= 0.
        interval: Epochs from one judgement to the next, >= 1.
        max_skipped_steps: Skipped steps in a row of one network at which
            training ends, >= 1. The hook looks at them after each iteration.

    Raises:
        UserError: If an argument is out of range.
    """

    # After the schedules have stepped, and before the checkpoint is written.
    priority = 80

    def __init__(self,
                 action: Literal['warn', 'stop'] = 'warn',
                 thresholds: dict[str, Any] = dict(),
                 warmup_epochs: int = 2,
                 interval: int = 1,
                 max_skipped_steps: int = 50) -> None:
        where = 'default_hooks.health'
        require_choice(where, 'action', action, ('warn', 'stop'))
        require_at_least(where, 'warmup_epochs', warmup_epochs, 0)
        require_at_least(where, 'interval', interval, 1)
        require_at_least(where, 'max_skipped_steps', max_skipped_steps, 1)
        self.action = action
        self.thresholds = Thresholds.of(dict(thresholds))
        self.warmup_epochs = warmup_epochs
        self.interval = interval
        self.max_skipped_steps = max_skipped_steps
        self._healthy_epochs: list[int] = []
        self._judged_healthy = 0

    def before_train(self, runner: Runner) -> None:
        """Find the hooks that this hook needs.

        Raises:
            UserError: If one is missing.
        """
        for kind in (SummaryHook, TrainingStateHook):
            if _find_hook(runner, kind) is None:
                raise UserError(
                    f'the HealthHook needs a {kind.__name__}: put one into '
                    'default_hooks, or take the HealthHook out')

    def after_train_iter(self, runner: Runner, *args: Any,
                         **kwargs: Any) -> None:
        """Look at the steps that were skipped.

        Raises:
            UnhealthyRun: If too many in a row were skipped.
        """
        for network, counts in unwrapped(
                runner.model).counters.updates.items():
            if counts.skipped_in_a_row >= self.max_skipped_steps:
                raise self._end(runner, [
                    f'{counts.skipped_in_a_row} steps of the {network} in a '
                    'row were skipped, because loss or gradients were not '
                    'finite'
                ])

    def after_train_epoch(self, runner: Runner) -> None:
        """Judge the epoch.

        Raises:
            UnhealthyRun: If the epoch is unhealthy and the action is 'stop'.
        """
        epoch = runner.epoch + 1
        if not (self.every_n_epochs(runner, self.interval)
                or self.is_last_train_epoch(runner)):
            return
        summary = _find_hook(runner, SummaryHook)
        # Only the first process has the history. All act on its verdict.
        shared = [
            find_problems(summary.history['epochs'], self.thresholds,
                          self.warmup_epochs) if is_main_process() else []
        ]
        broadcast_object_list(shared)
        problems = shared[0]
        if is_main_process():
            entry = summary.history['epochs'][-1]
            entry['findings'] = problems
            if entry['class_entropy'] == 0:
                # Also in the warm-up, where it is no finding.
                runner.logger.warning(
                    f'Epoch(health) [{epoch}]  the teacher answers every '
                    'image alike, so that agreement says nothing: if it '
                    'stays, compare mean and std with `tadfkd check`')
            summary.write(runner)
            runner.visualizer.add_scalars({'health/problems': len(problems)},
                                          step=epoch)
        if not problems:
            self._judged_healthy = epoch
            return
        runner.logger.warning(
            f'Epoch(health) [{epoch}]  unhealthy: {"; ".join(problems)}')
        if self.action == 'stop':
            raise self._end(runner, problems)

    def before_save_by_all(self, runner: Runner) -> None:
        """Check the weights that are about to be saved.

        Raises:
            UnhealthyRun: If a weight of any process is not finite.
        """
        # Pixels, for example, are weights that each process has for itself.
        found = all_gather_object(_nonfinite_names(unwrapped(runner.model)))
        names = [name for names in found for name in names]
        if names:
            raise self._end(runner, [f'weights are not finite ({names[0]})'])
        # Only an epoch that is saved has a checkpoint to continue from. A file
        # with the name of another epoch may be of an earlier run.
        if self._judged_healthy == runner.epoch + 1:
            self._healthy_epochs.append(self._judged_healthy)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the epochs that were judged healthy."""
        checkpoint['health'] = dict(healthy_epochs=self._healthy_epochs)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take over the healthy epochs of a resumed run."""
        if runner._resume and 'health' in checkpoint:
            self._healthy_epochs = list(checkpoint['health']['healthy_epochs'])

    def _end(self, runner: Runner, problems: list[str]) -> UnhealthyRun:
        report = _find_hook(runner, ReportHook)
        if report is not None:
            report.write(runner)
        saver = _find_hook(runner, CheckpointHook)
        rest = 'there is no healthy checkpoint'
        for epoch in self._healthy_epochs if saver else []:
            path = Path(saver.out_dir, saver.filename_tmpl.format(epoch))
            if path.is_file():
                rest = f'the last healthy checkpoint is {path}'
        return UnhealthyRun(
            f'training ends in epoch {runner.epoch + 1}: '
            f'{"; ".join(problems)}: {rest}, see docs/health.md for what each '
            'measure tells and what helps')


def _find_hook(runner: Runner, kind: type[Hook]) -> Any:
    return next((hook for hook in runner.hooks if isinstance(hook, kind)),
                None)


def _nonfinite_names(model: nn.Module) -> list[str]:
    """Names of parameters and running statistics that are not finite.

    Those of a child called ``teacher`` are left out.
    """
    # Other buffers may be infinite on purpose, such as attention masks.
    return [
        name
        for name, value in (*model.named_parameters(), *model.named_buffers())
        if not name.startswith('teacher.') and (
            isinstance(value, nn.Parameter) or 'running_' in name)
        and not value.isfinite().all()
    ]
