"""The training loop, which can stop and resume between any two steps."""
from typing import Any

from mmengine.dist import all_gather_object, get_rank, is_distributed
from mmengine.hooks import (CheckpointHook, EarlyStoppingHook,
                            ParamSchedulerHook)
from mmengine.runner import EpochBasedTrainLoop
from torch import nn

from tadfkd.engine.signals import StopRequest, stop_requests
from tadfkd.errors import Interrupted, UserError
from tadfkd.registry import LOOPS
from tadfkd.utils.randomness import (global_random_state,
                                     set_global_random_state)


@LOOPS.register_module()
class EpochLoop(EpochBasedTrainLoop):
    """mmengine's loop by epochs, resumed exactly from any checkpoint.

    mmengine's loop restarts an epoch whose checkpoint was saved within the
    epoch. It also omits the validation of an epoch that was saved before its
    validation. This loop resumes at the same step, and runs the validation if
    it is still due. The batches that the epoch has used already are drawn
    again and dropped, so that the data pipeline is at the same place too.

    A signal (see :data:`tadfkd.engine.signals.STOP_SIGNALS`) ends the run
    after the current step or validation. Hooks with a ``save_now`` then save,
    and the loop raises :class:`~tadfkd.errors.Interrupted`. Several processes
    stop together, at the end of the epoch. If no hook has a ``save_now``,
    signals keep their usual effect.

    Hooks are called in the order of mmengine's loop. ``before_train_epoch``
    is called again when a run resumes within an epoch.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._steps_done = 0
        self._validation_is_due = False
        self._random_state: dict[str, Any] | None = None
        self._request: StopRequest | None = None

    @property
    def steps_done(self) -> int:
        """Iterations of this epoch so far, including the current one."""
        return self._steps_done

    def state_dict(self) -> dict[str, Any]:
        """The position within the epoch, and the global random states.

        All processes must call it at the same time.
        """
        return dict(
            steps_done=self._steps_done,
            validation_is_due=self._validation_is_due,
            random_states=all_gather_object(global_random_state()))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume at the position that :meth:`state_dict` returned.

        The random states are set when the loop gets there.

        Raises:
            UserError: If the epoch now has fewer iterations than were done.
        """
        steps = len(self.dataloader)
        if state['steps_done'] > steps:
            raise UserError(
                f'the checkpoint was saved after {state["steps_done"]} '
                f'iterations of an epoch, which has {steps} now: resume with '
                'the epoch length of the saved run')
        self._steps_done = state['steps_done']
        self._validation_is_due = state['validation_is_due']
        states = state['random_states']
        self._random_state = states[get_rank() % len(states)]

    def run(self) -> nn.Module:
        """Train, from the beginning or from a checkpoint.

        Raises:
            Interrupted: If a signal arrived and the run has been saved.
        """
        if not any(hasattr(hook, 'save_now') for hook in self.runner.hooks):
            return self._run()
        with stop_requests() as self._request:
            return self._run()

    def _run(self) -> nn.Module:
        self.runner.call_hook('before_train')
        if self._steps_done == 0:
            self._restore_random_numbers()
        self._validate()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._validate()
            if self._epoch < self._max_epochs:
                self._stop_if_asked()
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Train one epoch, or what is left of it."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        batches = enumerate(self.dataloader)
        for _ in range(self._steps_done):
            next(batches)
        self._restore_random_numbers()
        for index, batch in batches:
            self._steps_done = index + 1
            self.run_iter(index, batch)
            if not is_distributed():
                self._stop_if_asked()
        self._steps_done = 0
        self._validation_is_due = True
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _validate(self) -> None:
        """Validate, if an epoch has ended since the last call."""
        if not self._validation_is_due:
            return
        # A checkpoint that is saved after this need not validate again.
        self._validation_is_due = False
        self._decide_current_val_interval()
        if self.runner.val_loop is not None \
                and self._epoch >= self.val_begin \
                and (self._epoch % self.val_interval == 0
                     or self._epoch == self._max_epochs):
            self.runner.val_loop.run()
        elif self.runner.val_loop is None:
            # Measures that need no data are metrics to what waits for them.
            measures = self.runner.message_hub.get_info('measures')
            for hook in self.runner.hooks if measures else ():
                if isinstance(
                        hook, CheckpointHook | EarlyStoppingHook
                        | ParamSchedulerHook):
                    hook.after_val_epoch(self.runner, metrics=dict(measures))

    def _restore_random_numbers(self) -> None:
        if self._random_state is not None:
            set_global_random_state(self._random_state)
            self._random_state = None

    def _stop_if_asked(self) -> None:
        if self._request is None:
            return
        signals = [
            name for name in all_gather_object(self._request.name) if name
        ]
        if not signals:
            return
        self.runner.call_hook('save_now')
        message = (f'stopped by {signals[0]} and saved after {self._iter} of '
                   f'{self._max_iters} iterations, resume with --resume')
        self.runner.logger.warning(message)
        self.runner.visualizer.close()
        raise Interrupted(message)
