"""A run that has collapsed is seen, and ended or taken back."""
from pathlib import Path
from typing import Any, Literal

from mmengine.dist import (all_gather_object, barrier, broadcast_object_list,
                           is_main_process)
from mmengine.hooks import CheckpointHook, Hook, IterTimerHook
from mmengine.runner import Runner, set_random_seed

from tadfkd.distributed.wrapper import unwrapped
from tadfkd.engine.hooks.summary import SummaryHook
from tadfkd.engine.hooks.training_state import TrainingStateHook
from tadfkd.engine.loops import EpochLoop
from tadfkd.errors import UnhealthyRun, UserError, require_at_least
from tadfkd.evaluation.health_rules import Thresholds, find_problems
from tadfkd.registry import HOOKS
from tadfkd.utils.finite import names_not_finite

ACTIONS = ('warn', 'stop', 'rollback')


@HOOKS.register_module()
class HealthHook(Hook):
    """Judges what the :class:`SummaryHook` has measured of an epoch.

    An epoch beyond a threshold is unhealthy: the log warns, and the files of
    the run tell. With ``'stop'`` the run ends, with ``'rollback'`` it goes on
    from its last healthy checkpoint with other random numbers, and ends after
    ``max_rollbacks`` of them; the unhealthy state is not saved. Whatever the
    action, many skipped steps in a row or weights that are not finite end
    training, before they are saved. A run that ends so exits with code 3.

    Args:
        action: ``'warn'``, ``'stop'`` or ``'rollback'``.
        thresholds: Those of
            :class:`~tadfkd.evaluation.health_rules.Thresholds` that are to be
            others than its defaults.
        warmup_epochs: Epochs at the beginning that are not judged, >= 0.
        interval: Epochs from one judgement to the next, >= 1.
        max_rollbacks: In a run, >= 0.
        max_skipped_steps: Skipped steps in a row of one network at which
            training ends (or is taken back), >= 1; looked at after each
            iteration.

    Raises:
        UserError: If an argument is out of range.
    """

    # After the schedules have stepped, and before the checkpoint is written.
    priority = 80

    def __init__(self,
                 action: Literal['warn', 'stop', 'rollback'] = 'warn',
                 thresholds: dict[str, Any] = dict(),
                 warmup_epochs: int = 2,
                 interval: int = 1,
                 max_rollbacks: int = 3,
                 max_skipped_steps: int = 50) -> None:
        if action not in ACTIONS:
            raise UserError(f'action must be one of {", ".join(ACTIONS)}, got '
                            f'{action!r}: set default_hooks.health.action')
        self.action = action
        self.thresholds = Thresholds.of(dict(thresholds))
        self.warmup_epochs = warmup_epochs
        self.interval = interval
        self.max_rollbacks = max_rollbacks
        self.max_skipped_steps = max_skipped_steps
        for name, minimum in dict(
                warmup_epochs=0, interval=1, max_rollbacks=0,
                max_skipped_steps=1).items():
            require_at_least('default_hooks.health', name, getattr(self, name),
                             minimum)
        self.rollbacks = 0
        self._healthy_epochs: list[int] = []
        self._judged_healthy = 0
        self._problems: list[str] = []

    def before_train(self, runner: Runner) -> None:
        """Find the hooks that this one needs.

        Raises:
            UserError: If one is missing, or does not save whole epochs.
        """
        self._summary = _needed_hook(runner, SummaryHook)
        _needed_hook(runner, TrainingStateHook)
        if self.action != 'rollback':
            return
        if not _needed_hook(runner, CheckpointHook).by_epoch or not isinstance(
                runner.train_loop, EpochLoop):
            raise UserError(
                "action 'rollback' goes back to the end of an epoch: set "
                'default_hooks.checkpoint.by_epoch and train_cfg.by_epoch to '
                'True, or default_hooks.health.action to another')

    def after_train_iter(self, runner: Runner, *args: Any,
                         **kwargs: Any) -> None:
        """Look at the steps that were skipped.

        Raises:
            UnhealthyRun: If there were too many, and the run is not to be
                taken back.
        """
        updates = unwrapped(runner.model).counters.updates
        self._problems = [
            f'{counts.skipped_in_a_row} steps of the {network} in a row were '
            'skipped, because loss or gradients were not finite'
            for network, counts in updates.items()
            if counts.skipped_in_a_row >= self.max_skipped_steps
        ]
        if self._problems and self.action != 'rollback':
            raise self._end(runner, self._problems)

    def after_train_epoch(self, runner: Runner) -> None:
        """Judge the epoch.

        Raises:
            UnhealthyRun: If it is unhealthy, and that is to end the run.
        """
        epoch = runner.epoch + 1
        if not (self.every_n_epochs(runner, self.interval)
                or self.is_last_train_epoch(runner) or self._problems):
            return
        problems = self._problems
        if is_main_process():
            problems = problems + find_problems(
                self._summary.history['epochs'], self.thresholds,
                self.warmup_epochs)
        # All processes do the same.
        shared = [problems]
        broadcast_object_list(shared)
        problems = shared[0]
        if is_main_process():
            self._summary.history['epochs'][-1]['findings'] = problems
            self._summary.write(runner)
            runner.visualizer.add_scalars({'health/problems': len(problems)},
                                          step=epoch)
        if not problems:
            self._judged_healthy = epoch
            return
        runner.logger.warning(
            f'Epoch(health) [{epoch}]  unhealthy: {"; ".join(problems)}')
        if self.action == 'stop':
            raise self._end(runner, problems)
        if self.action == 'rollback':
            self._roll_back(runner, problems)

    def before_save_by_all(self, runner: Runner) -> None:
        """Look at what all processes are about to save. Only an epoch that is
        saved can be gone back to; another file of its name is of another run.

        Raises:
            UnhealthyRun: If a weight is not finite.
        """
        # Weights may be a process's own, as pixels are.
        found = all_gather_object(names_not_finite(unwrapped(runner.model)))
        names = [name for names in found for name in names]
        if names:
            raise self._end(runner, [f'weights are not finite ({names[0]})'])
        # The end of the epoch that has just been judged.
        if self._judged_healthy == runner.epoch + 1:
            self._healthy_epochs.append(self._judged_healthy)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add what is known of the run's health."""
        checkpoint['health'] = dict(
            rollbacks=self.rollbacks, healthy_epochs=self._healthy_epochs)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Go on with what is known of the run's health."""
        if runner._resume and 'health' in checkpoint:
            self.rollbacks = checkpoint['health']['rollbacks']
            self._healthy_epochs = list(checkpoint['health']['healthy_epochs'])

    def _roll_back(self, runner: Runner, problems: list[str]) -> None:
        """Take the run to its last healthy checkpoint, with other random
        numbers."""
        healthy = self._healthy_checkpoint(runner)
        if healthy is None or self.rollbacks >= self.max_rollbacks:
            raise self._end(runner, problems)
        epoch, path = healthy
        rollbacks = self.rollbacks + 1
        left = runner.epoch + 1
        # By this all state is restored, as it is of a resumed run.
        resumes, runner._resume = runner._resume, True
        runner.resume(str(path))
        runner._resume = resumes
        # It divides by what has been done since the start of this process.
        timer = _needed_hook(runner, IterTimerHook)
        timer.start_iter, timer.time_sec_tot = runner.iter, 0
        # The first process writes it anew, as soon as all have read it.
        barrier()
        self.rollbacks, self._problems = rollbacks, []
        self._judged_healthy = 0
        streams = unwrapped(runner.model).streams
        streams.reseed(f'rollback {rollbacks}')
        set_random_seed(streams.seed % 2**32)
        runner.train_loop.go_back(epoch)
        if is_main_process():
            # One that was killed just now has the same one again.
            past = self._summary.history.setdefault('rollbacks', [])
            past[rollbacks - 1:] = [
                dict(from_epoch=left, to_epoch=epoch, problems=problems)
            ]
            self._summary.write(runner)
        runner.logger.warning(
            f'rollback {rollbacks} of at most {self.max_rollbacks}: the run '
            f'goes on from {path} with other random numbers')

    def _healthy_checkpoint(self, runner: Runner) -> tuple[int, Path] | None:
        """The newest one of an epoch that was judged healthy."""
        saver = _find_hook(runner, CheckpointHook)
        for epoch in reversed(self._healthy_epochs if saver else []):
            path = Path(saver.out_dir, saver.filename_tmpl.format(epoch))
            if path.is_file():
                return epoch, path
        return None

    def _end(self, runner: Runner, problems: list[str]) -> UnhealthyRun:
        healthy = self._healthy_checkpoint(runner)
        tried = f' after {self.rollbacks} rollbacks' if self.rollbacks else ''
        rest = 'there is no healthy checkpoint' if healthy is None else \
            f'the last healthy checkpoint is {healthy[1]}'
        return UnhealthyRun(
            f'training ends in epoch {runner.epoch + 1}{tried}: '
            f'{"; ".join(problems)}: {rest}, see docs/health.md for what each '
            'measure tells and what helps')


def _find_hook(runner: Runner, kind: type[Hook]) -> Any:
    return next((hook for hook in runner.hooks if isinstance(hook, kind)),
                None)


def _needed_hook(runner: Runner, kind: type[Hook]) -> Any:
    hook = _find_hook(runner, kind)
    if hook is None:
        raise UserError(
            f'the HealthHook needs a {kind.__name__}: put one into '
            'default_hooks, or take the HealthHook out')
    return hook
