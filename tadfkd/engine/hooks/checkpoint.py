"""Checkpoints that are whole, and of which there is always one."""
from collections import deque
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.runner import Runner

from tadfkd.engine.loops import EpochLoop
from tadfkd.errors import UserError
from tadfkd.registry import HOOKS
from tadfkd.utils.files import remove_leftovers, write_atomically

_WITHIN_EPOCH = 'epoch_{}_step_{}.pth'


@register_backend('atomic_local')
class AtomicLocalBackend(LocalBackend):
    """Local files that are whole or not there.

    mmengine writes checkpoints in place; killed half-way it leaves a torn
    one under its final name. Our
    :class:`~tadfkd.engine.hooks.CheckpointHook` takes this back end.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write beside ``filepath``, sync, and rename onto it."""
        write_atomically(filepath, obj)


class _LateRemovals(LocalBackend):
    """Local files that are removed when it is time for it."""

    def __init__(self) -> None:
        self._outdated: list[str | Path] = []

    def remove(self, filepath: str | Path) -> None:
        """Note what is to be removed."""
        self._outdated.append(filepath)

    def remove_outdated(self) -> None:
        """Remove what was noted."""
        for path in self._outdated:
            Path(path).unlink(missing_ok=True)
        self._outdated.clear()


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """mmengine's hook, for runs that may be killed at any moment.

    A checkpoint is written beside its place, synced and renamed, and so is
    ``last_checkpoint``, which names it only then. What is outdated by it,
    earlier checkpoints and an earlier best one, is removed after that; where
    a run was killed in between, the next one removes it. A new run removes
    the halves of files that a killed one has left in its work directory.

    Beside what mmengine saves, checkpoints hold where the loop is and where
    all global random numbers are; see :class:`tadfkd.engine.EpochLoop`.

    A run that is told to stop is saved as ``epoch_E_step_S.pth``, after E
    epochs and S steps, until a later checkpoint is safe; a hook that saves by
    iterations saves under its usual name.

    Args:
        **arguments: Those of mmengine's hook, without ``backend_args`` and
            ``file_client_args``: checkpoints are local files.

    Raises:
        UserError: If an argument is unknown.
    """

    def __init__(self, **arguments: Any) -> None:
        for name in ('backend_args', 'file_client_args'):
            if name in arguments:
                raise UserError(f'the CheckpointHook writes local files and '
                                f'takes no {name}: take it out of '
                                'default_hooks.checkpoint')
        super().__init__(
            **arguments, backend_args=dict(backend='atomic_local'))
        self._loop_state: dict | None = None
        self.keep_ckpt_ids: deque[int] = deque()
        # mmengine hands them on to the Runner, which fails at the first save.
        if self.args:
            raise UserError('the CheckpointHook has no argument '
                            f'{", ".join(self.args)}: take it out of '
                            'default_hooks.checkpoint')

    def before_train(self, runner: Runner) -> None:
        """Clear up after a run that was killed."""
        super().before_train(runner)
        if is_main_process():
            for folder in (runner.work_dir, self.out_dir):
                remove_leftovers(folder)
        self.file_backend = _LateRemovals()

    def save_now(self, runner: Runner) -> None:
        """Save between two steps, or after the validation of an epoch."""
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
        """Add where the loop is."""
        if self._loop_state is not None:
            checkpoint['train_loop'] = self._loop_state

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Bring the loop of a resumed run to where it was."""
        if runner._resume and 'train_loop' in checkpoint and isinstance(
                runner.train_loop, EpochLoop):
            runner.train_loop.load_state_dict(checkpoint['train_loop'])

    def _save_checkpoint_with_step(self, runner: Runner, step: int,
                                   meta: dict) -> None:
        if self.max_keep_ckpts > 0:
            kept = [*self.keep_ckpt_ids]
            if step not in kept:
                kept.append(step)
            # Those that are there when the file is: where a run is killed
            # before the oldest is removed, mmengine does so in the next one.
            runner.message_hub.update_info('keep_ckpt_ids', kept)
            for old in kept[:-self.max_keep_ckpts]:
                self.file_backend.remove(
                    Path(self.out_dir, self.filename_tmpl.format(old)))
            self.keep_ckpt_ids = deque(kept, self.max_keep_ckpts)
        self._save(runner, self.filename_tmpl.format(step), meta)

    def _save(self, runner: Runner, name: str, meta: dict) -> None:
        """Save, name the file, and only then remove what is outdated."""
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
            self.file_backend.remove_outdated()

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        super()._save_best_checkpoint(runner, metrics)
        if is_main_process():
            self.file_backend.remove_outdated()
