"""A run that has collapsed is seen, and ended or taken back."""
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from algorithm_helpers import assert_unchanged, snapshot
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from tadfkd.apis import load_config, train
from tadfkd.checkpoints.reading import read_checkpoint
from tadfkd.engine.hooks import HealthHook
from tadfkd.errors import UnhealthyRun, UserError
from tadfkd.registry import HOOKS

#: Networks as small as these say the same of all images.
LENIENT = dict(
    min_class_entropy=None,
    min_feature_diversity=None,
    min_image_diversity=1e-4,
    min_kappa=None,
    max_bn_growth=None)
DAMAGE = dict(type='Damage')


@HOOKS.register_module()
class Damage(Hook):
    """Kills the generator at the end of an epoch, some times."""

    def __init__(self, epoch: int = 2, times: int = 1) -> None:
        self.epoch = epoch
        self.times = times

    def after_train_epoch(self, runner: Runner) -> None:
        """All its images are grey from now on."""
        if runner.epoch + 1 == self.epoch and self.times > 0:
            self.times -= 1
            last = [
                layer for layer in runner.model.generator.modules()
                if isinstance(layer, nn.Conv2d)
            ][-1]
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)


@HOOKS.register_module()
class Poison(Hook):
    """From an iteration on, the teacher's answers are no numbers."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def before_train_iter(self, runner: Runner, *args: Any,
                          **kwargs: Any) -> None:
        """Spoil the teacher's last layer."""
        if runner.iter == self.iteration:
            runner.model.teacher.network.head.fc.bias.data.fill_(torch.nan)


@HOOKS.register_module()
class Overflow(Hook):
    """Spoils a weight of the student when the second epoch is saved."""

    def before_save_by_all(self, runner: Runner) -> None:
        """In the network."""
        if runner.epoch + 1 == 2:
            runner.model.student.head.fc.bias.data[0] = torch.inf


def config_of(digits_config: str,
              options: dict[str, Any],
              folder: Path,
              damage: dict[str, Any] | None = None,
              **health: Any) -> Config:
    """A tiny run of three epochs without evaluation."""
    config = load_config(
        digits_config,
        options | {
            'train_cfg.max_epochs':
            3,
            'default_hooks.summary.num_images':
            16,
            'default_hooks.health':
            dict(type='HealthHook', warmup_epochs=0, thresholds=LENIENT)
            | health
        },
        work_dir=str(folder),
        evaluate=False)
    # Not needed here, and slow.
    del config.default_hooks['samples'], config.default_hooks['teacher_sanity']
    if damage is not None:
        config.custom_hooks = [dict(damage, priority='HIGH')]
    return config


def read(folder: Path, name: str = 'history') -> dict:
    """A file of the work directory."""
    return json.loads((folder / f'{name}.json').read_text())


def test_a_healthy_run_is_left_alone(digits_config: str,
                                     tiny_options: dict[str, Any],
                                     tmp_path: Path) -> None:
    train(config_of(digits_config, tiny_options, tmp_path, action='stop'))
    assert [entry['findings']
            for entry in read(tmp_path)['epochs']] == [[]] * 3
    summary = read(tmp_path, 'summary')
    assert summary['finished'] is True
    assert summary['unhealthy_epochs'] == []
    assert summary['skipped_steps'] == summary['rollbacks'] == 0


def test_a_warning_names_the_measure_and_training_goes_on(
        digits_config: str, tiny_options: dict[str, Any],
        tmp_path: Path) -> None:
    train(config_of(digits_config, tiny_options, tmp_path, DAMAGE))
    findings = [entry['findings'] for entry in read(tmp_path)['epochs']]
    assert findings[:2] == [[], ['image_diversity is 0, below 0.0001']]
    assert read(tmp_path, 'summary')['finished'] is True
    assert 2 in read(tmp_path, 'summary')['unhealthy_epochs']
    log, = tmp_path.glob('*/*.log')
    assert 'Epoch(health) [2]  unhealthy: image_diversity' in log.read_text()


def test_judging_changes_no_bit_of_training(digits_config: str,
                                            tiny_options: dict[str, Any],
                                            tmp_path: Path) -> None:
    config = config_of(digits_config, tiny_options, tmp_path / 'with')
    judged = snapshot(train(config))
    config = config_of(digits_config, tiny_options, tmp_path / 'without')
    del config.default_hooks['health']
    assert_unchanged(train(config), judged)


def test_stopping_keeps_the_last_healthy_checkpoint(digits_config: str,
                                                    tiny_options: dict[str,
                                                                       Any],
                                                    tmp_path: Path) -> None:
    with pytest.raises(
            UnhealthyRun,
            match='ends in epoch 2: image_diversity is 0, below 0.0001: the '
            'last healthy checkpoint is .*epoch_1.pth') as error:
        train(
            config_of(
                digits_config, tiny_options, tmp_path, DAMAGE, action='stop'))
    assert error.value.exit_code == 3
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_1.pth']
    assert read(tmp_path, 'summary')['unhealthy_epochs'] == [2]


def rolled_back(digits_config: str, options: dict[str, Any],
                folder: Path) -> nn.Module:
    """The model of a run that was taken back from epoch 2 to 1."""
    return train(
        config_of(digits_config, options, folder, DAMAGE, action='rollback'))


def test_a_rollback_goes_on_with_other_random_numbers(digits_config: str,
                                                      tiny_options: dict[str,
                                                                         Any],
                                                      tmp_path: Path) -> None:
    model = rolled_back(digits_config, tiny_options, tmp_path)
    history, summary = read(tmp_path), read(tmp_path, 'summary')
    assert [entry['epoch'] for entry in history['epochs']] == [1, 2, 3]
    assert history['rollbacks'] == [
        dict(
            from_epoch=2,
            to_epoch=1,
            problems=['image_diversity is 0, below 0.0001'])
    ]
    assert summary['rollbacks'] == 1 and summary['unhealthy_epochs'] == []
    assert summary['finished'] is True
    # The epoch that was left does not count.
    assert model.counters.generator_steps == 6

    plain = train(config_of(digits_config, tiny_options, tmp_path / 'plain'))
    assert model.streams.seed != plain.streams.seed
    assert not torch.equal(model.student.head.fc.weight,
                           plain.student.head.fc.weight)


def test_a_rollback_can_be_repeated_and_resumed(digits_config: str,
                                                tiny_options: dict[str, Any],
                                                tmp_path: Path) -> None:
    folder = tmp_path / 'first'
    expected = snapshot(rolled_back(digits_config, tiny_options, folder))
    other = tmp_path / 'second'
    assert_unchanged(rolled_back(digits_config, tiny_options, other), expected)
    # From what was saved after the rollback.
    config = config_of(
        digits_config, tiny_options, tmp_path / 'third', action='rollback')
    shutil.copytree(other, tmp_path / 'third')
    saved = tmp_path / 'third' / 'epoch_2.pth'
    assert read_checkpoint(saved)['health'] == dict(
        rollbacks=1, healthy_epochs=[1, 2])
    config.resume, config.load_from = True, str(saved)
    assert_unchanged(train(config), expected)
    assert read(tmp_path / 'third', 'summary')['rollbacks'] == 1


def test_rollbacks_are_bounded(digits_config: str, tiny_options: dict[str,
                                                                      Any],
                               tmp_path: Path) -> None:
    with pytest.raises(
            UnhealthyRun,
            match='ends in epoch 2 after 2 rollbacks: image_diversity'):
        train(
            config_of(
                digits_config,
                tiny_options,
                tmp_path,
                DAMAGE | dict(times=9),
                action='rollback',
                max_rollbacks=2))
    assert len(read(tmp_path)['rollbacks']) == 2


def test_a_file_of_an_earlier_run_is_not_gone_back_to(digits_config: str,
                                                      tiny_options: dict[str,
                                                                         Any],
                                                      tmp_path: Path) -> None:
    options = tiny_options | {'default_hooks.checkpoint.interval': 2}
    (tmp_path / 'epoch_1.pth').write_bytes(b'of another run')
    with pytest.raises(UnhealthyRun, match='there is no healthy checkpoint'):
        train(
            config_of(
                digits_config, options, tmp_path, DAMAGE, action='rollback'))


def test_a_run_of_skipped_steps_ends_training_whatever_the_action(
        digits_config: str, tiny_options: dict[str, Any],
        tmp_path: Path) -> None:
    with pytest.raises(
            UnhealthyRun,
            match='ends in epoch 2: 4 steps of the student in a row were '
            'skipped.*epoch_1.pth'):
        train(
            config_of(
                digits_config,
                tiny_options | {'train_dataloader.dataset.num_steps': 3},
                tmp_path,
                dict(type='Poison', iteration=3),
                max_skipped_steps=3))
    state = read_checkpoint(tmp_path / 'epoch_1.pth')['state_dict']
    assert all(value.isfinite().all() for value in state.values())
    assert not (tmp_path / 'epoch_2.pth').exists()


def test_weights_that_are_not_finite_are_not_saved(digits_config: str,
                                                   tiny_options: dict[str,
                                                                      Any],
                                                   tmp_path: Path) -> None:
    with pytest.raises(
            UnhealthyRun,
            match=r'not finite \(student.head.fc.bias\).*epoch_1'):
        # Of an earlier run.
        (tmp_path / 'epoch_2.pth').write_bytes(b'earlier')
        train(
            config_of(digits_config, tiny_options, tmp_path,
                      dict(type='Overflow')))
    assert (tmp_path / 'epoch_1.pth').is_file()
    assert (tmp_path / 'epoch_2.pth').read_bytes() == b'earlier'


@pytest.mark.parametrize('arguments, message', [
    (dict(action='panic'), "action must be one of warn, stop, rollback, got "
     "'panic'"),
    (dict(interval=0), 'interval must be a whole number >= 1, got 0'),
    (dict(max_rollbacks=-1), 'max_rollbacks must be a whole number >= 0'),
    (dict(max_skipped_steps=0), 'max_skipped_steps must be .*>= 1'),
    (dict(warmup_epochs=0.5), 'warmup_epochs must be a whole number'),
    (dict(thresholds=dict(min_entropy=0.1)),
     "have no 'min_entropy': did you mean 'min_class_entropy'"),
    (dict(thresholds=dict(min_kappa='high')),
     "min_kappa must be a number or None, got 'high'"),
])
def test_a_wrong_argument_is_a_user_error(arguments: dict[str, Any],
                                          message: str) -> None:
    with pytest.raises(UserError, match=message):
        HealthHook(**arguments)


@pytest.mark.parametrize('missing, change, message', [
    ('summary', {}, 'needs a SummaryHook'),
    ('training_state', {}, 'needs a TrainingStateHook'),
    (None, {
        'default_hooks.checkpoint.by_epoch': False
    }, 'checkpoint.by_epoch and train_cfg.by_epoch to'),
])
def test_what_the_hook_needs_is_named(digits_config: str,
                                      tiny_options: dict[str, Any],
                                      tmp_path: Path, missing: str | None,
                                      change: dict[str,
                                                   Any], message: str) -> None:
    config = config_of(
        digits_config, tiny_options, tmp_path, action='rollback')
    config.merge_from_dict(change)
    if missing is not None:
        del config.default_hooks[missing]
    with pytest.raises(UserError, match=message):
        train(config)
