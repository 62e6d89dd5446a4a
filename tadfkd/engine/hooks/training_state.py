"""Checkpoints that hold what continuation needs, and nothing twice."""
from mmengine.hooks import Hook
from mmengine.runner import Runner

from tadfkd.registry import HOOKS
from tadfkd.utils.errors import UserError
from tadfkd.utils.wrappers import unwrapped


@HOOKS.register_module()
class TrainingStateHook(Hook):
    """Saves and restores the algorithm's own state beside the weights.

    mmengine's checkpoints lack the positions of the random streams, the
    counters and the waiting samples; and it loads weights without asking
    whether they fit.
    """

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the state."""
        checkpoint['training_state'] = unwrapped(runner.model).training_state()

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
        model.load_training_state(checkpoint['training_state'])
