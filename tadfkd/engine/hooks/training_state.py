"""Checkpoints that hold everything a resumed run needs."""
from datetime import timedelta
from typing import Any

from mmengine.dist import (broadcast, gather_object, get_backend, get_rank,
                           get_world_size)
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.utils import apply_to
from torch import Tensor, distributed

from tadfkd.algorithms import BaseDFKD
from tadfkd.distributed.wrapper import unwrapped
from tadfkd.errors import UserError
from tadfkd.registry import HOOKS


@HOOKS.register_module()
class TrainingStateHook(Hook):
    """Saves and restores the algorithm's own state beside the weights.

    Checkpoints of mmengine lack the positions of the random streams, the
    counters, the pools and the queued samples. Each process has its own. In
    addition, mmengine loads weights without checking that all of them fit.

    The first process writes the checkpoint, so it gathers the states of all
    processes. mmengine calls ``before_save_checkpoint`` in that process
    alone, but all processes call the Runner's ``save_checkpoint``. This hook
    therefore lets each save begin with ``before_save_by_all``, which other
    hooks may implement too.
    """

    def __init__(self) -> None:
        self._states: list[dict] = []
        # Of type Any, because torch types its groups as numbers too.
        self._group: Any = None

    def before_train(self, runner: Runner) -> None:
        """Tell the algorithm the length of the run, and let each save begin
        with ``before_save_by_all``."""
        unwrapped(runner.model).begin_training(runner.max_iters)
        if get_world_size() > 1 and get_backend() != 'gloo':
            # The pools of all processes may not fit into one GPU's memory,
            # so the states are gathered on the CPU.
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
            _broadcast_buffers(unwrapped(runner.model))

    def before_save_by_all(self, runner: Runner) -> None:
        """Gather the states of all processes in the first one."""
        if get_world_size() == 1:
            return
        model = unwrapped(runner.model)
        _broadcast_buffers(model)
        state = apply_to(model.training_state(),
                         lambda value: isinstance(value, Tensor), Tensor.cpu)
        self._states = gather_object(state, group=self._group) or []

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the state of every process, and the number of classes.

        A student that its config only names is built with that number again.
        """
        model = unwrapped(runner.model)
        checkpoint.setdefault('meta', {})['num_classes'] = model.num_classes
        checkpoint['training_state'] = self._states or [model.training_state()]

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check the weights, and restore the state of a resumed run.

        Raises:
            UserError: If the file does not hold the networks of this model.
                If the run is resumed: also if the checkpoint has no training
                state, or was saved by another number of processes.
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
        if len(states) != get_world_size():
            raise UserError(
                f'the checkpoint was saved by {len(states)} processes and '
                f'there are {get_world_size()} now: resume with '
                f'{len(states)}, or start a new run with load_from')
        model.load_training_state(states[get_rank()])


def _broadcast_buffers(model: BaseDFKD) -> None:
    """Give all processes the buffers of the first process.

    Buffers differ only in batch norms that ``synchronize_batch_norms`` leaves
    as they are.
    """
    networks = [getattr(model, name) for name in model.trained_networks]
    if model.average is not None:
        networks.append(model.average)
    for network in networks:
        for buffer in network.buffers():
            broadcast(buffer)
