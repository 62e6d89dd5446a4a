"""A run that stops when it is told to, and goes on there."""
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from benchmarks.run_end import differences, read_run_end
from tadfkd.apis import load_config, train
from tadfkd.checkpoints.reading import read_checkpoint
from tadfkd.errors import INTERRUPTED, Interrupted


class SignalAt(Hook):
    """Sends this process a signal."""

    def __init__(self, where: str, number: signal.Signals) -> None:
        self.where = where
        self.number = number

    def send(self, where: str) -> None:
        """If it is time for it."""
        if where == self.where:
            os.kill(os.getpid(), self.number)

    def before_train(self, runner: Runner) -> None:
        """While the run begins."""
        self.send('beginning')

    def before_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        """Within a step."""
        self.send(f'step {runner.iter + 1}')

    def before_val_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        """Within a validation."""
        self.send(f'validation {runner.epoch}')


@pytest.fixture(scope='module')
def make_config(digits_config: str, shared_tiny_options: dict[str, Any],
                tiny_teacher_checkpoint: str) -> Callable[[Path], Config]:
    """Of two epochs of two steps, which resume what is there."""

    def make(work_dir: Path, **options: Any) -> Config:
        return load_config(
            digits_config,
            shared_tiny_options | {
                'model.teacher.checkpoint': tiny_teacher_checkpoint,
                'default_hooks.logger.interval': 1,
                'val_dataloader.dataset.serialize_data': False
            } | options,
            work_dir=str(work_dir),
            resume=True)

    return make


@pytest.fixture(scope='module')
def whole(make_config: Callable[[Path], Config],
          tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The end of a run that was not interrupted."""
    work_dir = tmp_path_factory.mktemp('whole')
    train(make_config(work_dir))
    return read_run_end(work_dir)


@pytest.mark.parametrize(('where', 'number', 'name', 'steps'), [
    ('beginning', signal.SIGUSR1, 'epoch_0_step_1.pth', 1),
    ('step 2', signal.SIGINT, 'epoch_0_step_2.pth', 2),
    ('validation 1', signal.SIGTERM, 'epoch_1.pth', 2),
])
def test_a_signal_ends_the_step_and_the_run_goes_on_exactly(
        where: str, number: signal.Signals, name: str, steps: int,
        make_config: Callable[[Path], Config], whole: dict[str, Any],
        tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted) as error:
        train(make_config(tmp_path), [SignalAt(where, number)])
    assert error.value.code == INTERRUPTED
    assert str(error.value) == (
        f'stopped by {number.name} and saved after {steps} of 4 iterations, '
        'resume with --resume')
    assert signal.getsignal(signal.SIGTERM) is before
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / name)
    assert read_checkpoint(tmp_path / name)['meta']['iter'] == steps

    train(make_config(tmp_path))
    assert differences(whole, read_run_end(tmp_path)) == []
    # What was saved for the moment goes when there is something later.
    assert {path.name
            for path in tmp_path.glob('*.pth')
            } == {'epoch_1.pth', 'epoch_2.pth'}


def test_a_signal_in_the_last_validation_lets_the_run_end(
        make_config: Callable[[Path], Config], whole: dict[str, Any],
        tmp_path: Path) -> None:
    train(make_config(tmp_path), [SignalAt('validation 2', signal.SIGTERM)])
    assert differences(whole, read_run_end(tmp_path)) == []
