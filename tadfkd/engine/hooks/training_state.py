"""Checkpoints that hold what continuation needs, and nothing twice."""
from datetime import timedelta
from typing import Any

from mmengine.dist import (broadcast, gather_object, get_backend, get_rank,
                           get_world_size)
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.utils import apply_to
from torch import Tensor, distributed

from tadfkd.algorithms import BaseDFKD
from tadfkd.distributed.resharding import reshard_states
from tadfkd.distributed.wrapper import unwrapped
from tadfkd.errors import UserError
from tadfkd.registry import HOOKS


@HOOKS.register_module()
class TrainingStateHook(Hook):
    """Saves and restores the algorithm's own state beside the weights.

    mmengine's checkpoints lack the positions of the random streams, the
    counters and the waiting samples, of which each process has its own; and
    it loads weights without asking whether they fit.

    The first process writes the checkpoint, so it has to have the states of
    all. Hooks are asked about a checkpoint in that process alone, but all
    processes call the Runner's ``save_checkpoint``: each save begins with the
    ``before_save_by_all`` of the hooks that have one.
    """

    def __init__(self) -> None:
        self._states: list[dict] = []
        # Of type Any, because torch types its groups as numbers too.
        self._group: Any = None

    def before_train(self, runner: Runner) -> None:
        """Let each save begin with what all processes do."""
        if get_world_size() > 1 and get_backend() != 'gloo':
            # Not over GPUs, in whose memory the pools of all would not fit.
            environment = runner.cfg.get('env_cfg') or {}
            seconds = (environment.get('dist_cfg') or {}).get('timeout', 600)
            self._group = distributed.new_group(
                timeout=timedelta(seconds=seconds), backend='gloo')
        save = runner.save_checkpoint

        def save_after_hooks(*arguments: Any, **options: Any) -> None:
            runner.call_hook('before_save_by_all')
            save(*arguments, **options)

        runner.save_checkpoint = save_after_hooks

    def after_train_epoch(self, runner: Runner) -> None:
        """Let all processes evaluate the same student."""
        if get_world_size() > 1:
            _agree_on_buffers(unwrapped(runner.model))

    def before_save_by_all(self, runner: Runner) -> None:
        """Bring the states of all processes to the first one."""
        if get_world_size() == 1:
            return
        model = unwrapped(runner.model)
        _agree_on_buffers(model)
        state = apply_to(model.training_state(),
                         lambda value: isinstance(value, Tensor), Tensor.cpu)
        self._states = gather_object(state, group=self._group) or []

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the state of every process, and the class count, by which a
        student that is only named is built again."""
        model = unwrapped(runner.model)
        checkpoint.setdefault('meta', {})['num_classes'] = model.num_classes
        checkpoint['training_state'] = self._states or [model.training_state()]

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check the weights, and restore the state of a resumed run.

        With another number of processes than saved it, the run goes on but
        not exactly, see :func:`~tadfkd.distributed.resharding.reshard_states`.

        Raises:
            UserError: If the file does not hold this model's networks, or
                is resumed but no checkpoint of a data-free run.
        """
        model = unwrapped(runner.model)
        own = model.state_dict()
        loaded = checkpoint.get('state_dict', checkpoint)
        bad = sorted(key for key in own.keys() | loaded.keys()
                     if key not in own or key not in loaded
                     or own[key].shape != loaded[key].shape)
        if bad:
            raise UserError(
                f'the checkpoint does not hold the networks of this config: '
                f'{len(bad)} tensors are missing, unexpected or of another '
                f'shape ({", ".join(bad[:3])}): use the config that it was '
                'trained with')
        if not runner._resume or runner._train_loop is None:
            return
        if 'training_state' not in checkpoint:
            raise UserError('the checkpoint holds no training state, so it '
                            'cannot be resumed: use it by load_from')
        states = checkpoint['training_state']
        if len(states) == get_world_size():
            model.load_training_state(states[get_rank()])
            return
        runner.logger.info(
            f'the checkpoint was saved by {len(states)} processes and there '
            f'are {get_world_size()} now: the run goes on with new random '
            'numbers, so not as it would have, bit by bit; stored samples '
            'are dealt out anew, and those that waited are left out')
        model.load_training_state(
            reshard_states(states, get_rank(), get_world_size(),
                           checkpoint['meta']['iter']))


def _agree_on_buffers(model: BaseDFKD) -> None:
    """Take over those of the first process. They only differ in layers that
    could not be synchronised, see ``synchronize_batch_norms``."""
    for name in model.trained_networks:
        for buffer in getattr(model, name).buffers():
            broadcast(buffer)
