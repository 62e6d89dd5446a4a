"""Checkpoints that survive a kill at any moment."""
from collections import deque
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.runner import Runner

from tadfkd.engine.loops import EpochLoop
from tadfkd.errors import UserError
from tadfkd.registry import HOOKS
from tadfkd.utils.files import remove_leftovers, write_atomically

_WITHIN_EPOCH = 'epoch_{}_step_{}.pth'
_RESTORED = ('optim_wrapper', 'param_scheduler', 'auto_scale_lr')


def _restored_settings(config: Config) -> dict[str, str]:
    """The settings whose state a resumed run takes from the checkpoint.

    Returns:
        Values by dotted key, as text.
    """
    found = {}
    parts = [(key, config.get(key)) for key in _RESTORED]
    schedules = config.get('param_scheduler')
    if schedules:
        # A schedule is as long as the run, if it has no end of its own.
        train = config.get('train_cfg') or {}
        parts.append(('train_cfg.max_epochs', train.get('max_epochs')))
    parts.append(('randomness.seed', (config.get('randomness')
                                      or {}).get('seed')))
    while parts:
        path, value = parts.pop()
        if isinstance(value, dict):
            parts += [(f'{path}.{key}', value[key]) for key in value]
        elif isinstance(value, list | tuple):
            parts += [(f'{path}.{key}', item)
                      for key, item in enumerate(value)]
        elif isinstance(value, bool | int | float | str):
            found[path] = str(value)
    # The other arguments of a wrapper, such as clip_grad, are no state. The
    # wrappers of a distillation take ``fused`` from the config.
    found = {
        path: value
        for path, value in found.items()
        if path == 'optim_wrapper.optimizer.fused'
        or not path.endswith('.optimizer.fused')
    }
    return {
        path: value
        for path, value in found.items()
        if not path.startswith('optim_wrapper') or '.optimizer.' in path
        or '.paramwise_cfg.' in path
    }


def _compare_settings(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """Sentences on settings whose state comes from the checkpoint.

    Args:
        old: :func:`_restored_settings` of the saved run.
        new: Those of the resumed run.

    Raises:
        UserError: If the state is of another type of optimiser or schedule.
    """
    notes = []
    for key in sorted(old.keys() | new.keys()):
        was, now = old.get(key, 'nothing'), new.get(key, 'nothing')
        if was == now:
            continue
        if key.endswith('.type'):
            raise UserError(
                f'{key} is {now}, and the checkpoint has the state '
                f'of {was}: set {key}={was}, or start a new run '
                'with load_from')
        notes.append(
            f'the schedules of the checkpoint keep the length of {key}={was}, '
            f'which is {now} now' if key == 'train_cfg.max_epochs' else
            f'{key}={now} has no effect, because the checkpoint has the state '
            f'of {was}')
    return [f'{note}: see docs/reliability.md' for note in notes]


@register_backend('atomic_local')
class AtomicLocalBackend(LocalBackend):
    """Writes local files atomically: a file is complete or absent.

    mmengine writes checkpoints in place, so a kill leaves a torn file under
    the final name. Our :class:`~tadfkd.engine.hooks.CheckpointHook` uses this
    back end instead.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write beside ``filepath``, sync, and rename onto it."""
        write_atomically(filepath, obj)


class _DeferredRemovals(LocalBackend):
    """Collects the files that mmengine removes, and removes them later."""

    def __init__(self) -> None:
        self._pending: list[str | Path] = []

    def remove(self, filepath: str | Path) -> None:
        """Remember a file that is to be removed."""
        self._pending.append(filepath)

    def remove_pending(self) -> None:
        """Remove all remembered files."""
        for path in self._pending:
            Path(path).unlink(missing_ok=True)
        self._pending.clear()


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """mmengine's hook, for runs that may be killed at any moment.

    A save has three atomic steps:

    1. The checkpoint is written to a temporary file, synced, and renamed.
    2. ``last_checkpoint``, which names the checkpoint, is written in the same
       way.
    3. Outdated checkpoints, including an outdated best one, are removed.

    If a run is killed in between, the next run removes the outdated and the
    temporary files in its work directory.

    In addition to mmengine's content, a checkpoint holds the position in the
    epoch and the global random states, see :class:`tadfkd.engine.EpochLoop`.

    A run that a signal stops within an epoch is saved as
    ``epoch_E_step_S.pth``, after E epochs and S steps. The next checkpoint
    replaces this file. A hook that saves by iterations uses its usual names.

    Args:
        **arguments: Those of mmengine's hook, without ``backend_args`` and
            ``file_client_args``, because checkpoints are local files.

    Raises:
        UserError: If an argument is unknown.
    """

    # Names, or parts of them, of what the SummaryHook measures.
    _default_greater_keys = [
        *MMEngineCheckpointHook._default_greater_keys, 'agreement', 'kappa',
        'entropy', 'diversity', 'finite'
    ]
    _default_less_keys = [
        *MMEngineCheckpointHook._default_less_keys, 'bn_distance',
        'skipped_share'
    ]

    def __init__(self, **arguments: Any) -> None:
        super().__init__(
            **arguments, backend_args=dict(backend='atomic_local'))
        self._loop_state: dict | None = None
        self.keep_ckpt_ids: deque[int] = deque()
        # mmengine would pass unknown arguments on to the Runner, which would
        # fail at the first save.
        if self.args:
            raise UserError('the CheckpointHook has no argument '
                            f'{", ".join(self.args)}: take it out of '
                            'default_hooks.checkpoint')

    def before_train(self, runner: Runner) -> None:
        """Remove temporary files of a run that was killed."""
        super().before_train(runner)
        if is_main_process():
            for folder in (runner.work_dir, self.out_dir):
                remove_leftovers(folder)
        self.file_backend = _DeferredRemovals()

    def save_now(self, runner: Runner) -> None:
        """Save between two steps, or after a validation."""
        epoch, iteration = runner.epoch, runner.iter
        meta = dict(epoch=epoch, iter=iteration)
        if not self.by_epoch:
            self._save_checkpoint_with_step(runner, iteration, meta)
        elif runner.train_loop.steps_done == 0:
            self._save_checkpoint_with_step(runner, epoch, meta)
        else:
            steps = runner.train_loop.steps_done
            self._save(runner, _WITHIN_EPOCH.format(epoch, steps), meta)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the position of the loop, and the settings that the file's
        state is of."""
        checkpoint['settings'] = _restored_settings(runner.cfg)
        if self._loop_state is not None:
            checkpoint['train_loop'] = self._loop_state

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Restore the position of the loop of a resumed run, and name the
        settings of this run that the checkpoint overrides."""
        if not runner._resume:
            return
        new = _restored_settings(runner.cfg)
        old = checkpoint.get('settings', new)
        for note in _compare_settings(old, new):
            runner.logger.warning(note)
        if 'train_loop' in checkpoint and isinstance(runner.train_loop,
                                                     EpochLoop):
            runner.train_loop.load_state_dict(checkpoint['train_loop'])

    def _save_checkpoint_with_step(self, runner: Runner, step: int,
                                   meta: dict) -> None:
        if self.max_keep_ckpts > 0:
            kept = [*self.keep_ckpt_ids]
            if step not in kept:
                kept.append(step)
            # The list includes the oldest file, which is removed only after
            # the save. If the run is killed before that, mmengine removes the
            # oldest file in the next run.
            runner.message_hub.update_info('keep_ckpt_ids', kept)
            for old in kept[:-self.max_keep_ckpts]:
                self.file_backend.remove(
                    Path(self.out_dir, self.filename_tmpl.format(old)))
            self.keep_ckpt_ids = deque(kept, self.max_keep_ckpts)
        self._save(runner, self.filename_tmpl.format(step), meta)

    def _save(self, runner: Runner, name: str, meta: dict) -> None:
        """Save, update ``last_checkpoint``, and then remove old files."""
        path = Path(self.out_dir, name)
        self.last_ckpt = str(path)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        self._loop_state = runner.train_loop.state_dict() if isinstance(
            runner.train_loop, EpochLoop) else None
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args)
        self._loop_state = None
        if is_main_process():
            write_atomically(
                Path(runner.work_dir, 'last_checkpoint'),
                self.last_ckpt.encode())
            for interrupted in path.parent.glob(
                    _WITHIN_EPOCH.format('*', '*')):
                if interrupted != path:
                    self.file_backend.remove(interrupted)
            self.file_backend.remove_pending()

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        super()._save_best_checkpoint(runner, metrics)
        if is_main_process():
            self.file_backend.remove_pending()
