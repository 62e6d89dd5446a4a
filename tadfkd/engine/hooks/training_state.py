"""Checkpoints that hold what continuation needs, and nothing twice."""
from mmengine.dist import (all_gather_object, broadcast, get_rank,
                           get_world_size)
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from tadfkd.registry import HOOKS
from tadfkd.utils.errors import UserError
from tadfkd.utils.wrappers import unwrapped


@HOOKS.register_module()
class TrainingStateHook(Hook):
    """Saves and restores the algorithm's own state beside the weights.

    mmengine's checkpoints lack the positions of the random streams, the
    counters and the waiting samples, of which each process has its own; and
    it loads weights without asking whether they fit.

    In a distributed run all processes take over the first one's batch-norm
    statistics at the end of each epoch, so that what is evaluated and saved
    is one student.
    """

    def __init__(self) -> None:
        self._states: list[dict] = []

    def before_train(self, runner: Runner) -> None:
        """Refuse what would lose the state of the other processes.

        Raises:
            UserError: If a distributed run is to save between epochs.
        """
        saves_between = any(
            isinstance(hook, CheckpointHook) and not hook.by_epoch
            for hook in runner.hooks)
        if get_world_size() > 1 and saves_between:
            raise UserError(
                'a distributed run saves at the end of epochs only: set '
                'default_hooks.checkpoint.by_epoch to True, and fewer '
                'train_dataloader.dataset.num_steps for shorter epochs')

    def after_train_epoch(self, runner: Runner) -> None:
        """Bring the processes of a distributed run together."""
        if get_world_size() == 1:
            return
        model = unwrapped(runner.model)
        for name in model.trained_networks:
            for buffer in getattr(model, name).buffers():
                broadcast(buffer)
        self._states = all_gather_object(model.training_state())

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the state of every process, and the class count, by which a
        student that is only named is built again."""
        model = unwrapped(runner.model)
        checkpoint.setdefault('meta', {})['num_classes'] = model.num_classes
        checkpoint['training_state'] = self._states or [model.training_state()]

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check the weights, and restore the state of a resumed run.

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
        if len(states) != get_world_size():
            raise UserError(
                f'the checkpoint was saved by {len(states)} processes and '
                f'there are {get_world_size()} now: resume with as many, or '
                'use it by load_from')
        model.load_training_state(states[get_rank()])
