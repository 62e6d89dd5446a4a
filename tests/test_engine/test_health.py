"""A run that has collapsed is noticed, and ended on request."""
import json
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
from tadfkd.errors import UnhealthyRun
from tadfkd.registry import HOOKS

#: Networks as small as these say the same of all images.
LENIENT = dict(
    min_class_entropy=None,
    min_feature_diversity=None,
    min_image_diversity=1e-4,
    min_kappa=None,
    max_bn_growth=None)


@HOOKS.register_module()
class GreyImages(Hook):
    """The generator makes grey images from the end of epoch 2 on."""
    priority = 'HIGH'

    def after_train_epoch(self, runner: Runner) -> None:
        """Set the last layer to zero."""
        if runner.epoch + 1 == 2:
            last = [
                layer for layer in runner.model.generator.modules()
                if isinstance(layer, nn.Conv2d)
            ][-1]
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)


@HOOKS.register_module()
class NanTeacher(Hook):
    """From iteration 3 on, the teacher's logits are NaN."""

    def before_train_iter(self, runner: Runner, *args: Any,
                          **kwargs: Any) -> None:
        """Spoil the teacher's last layer."""
        if runner.iter == 3:
            runner.model.teacher.network.head.fc.bias.data.fill_(torch.nan)


@HOOKS.register_module()
class InfiniteWeight(Hook):
    """A weight of the student is infinite when epoch 2 is saved."""
    priority = 'HIGH'

    def before_save_by_all(self, runner: Runner) -> None:
        """Spoil the student's last layer."""
        if runner.epoch + 1 == 2:
            runner.model.student.head.fc.bias.data[0] = torch.inf


@pytest.fixture
def config(digits_config: str, tiny_options: dict[str, Any],
           tmp_path: Path) -> Config:
    """A tiny run of three epochs without evaluation."""
    config = load_config(
        digits_config,
        tiny_options | {
            'train_cfg.max_epochs':
            3,
            'default_hooks.summary.num_images':
            16,
            'default_hooks.health':
            dict(type='HealthHook', warmup_epochs=0, thresholds=LENIENT)
        },
        work_dir=str(tmp_path),
        evaluate=False)
    # Not needed here, and slow.
    del config.default_hooks['samples'], config.default_hooks['teacher_sanity']
    return config


def train_with(hook: str, config: Config) -> None:
    config.custom_hooks = [dict(type=hook)]
    train(config)


def read(folder: Path, name: str = 'history') -> dict:
    return json.loads((folder / f'{name}.json').read_text())


def test_a_healthy_run_goes_on_and_judging_changes_no_bit(
        config: Config, tmp_path: Path) -> None:
    config.default_hooks.health.action = 'stop'
    judged = snapshot(train(config))
    assert [entry['findings']
            for entry in read(tmp_path)['epochs']] == [[]] * 3
    summary = read(tmp_path, 'summary')
    assert summary['finished'] is True
    assert summary['unhealthy_epochs'] == [] and summary['skipped_steps'] == 0
    assert read_checkpoint(
        tmp_path / 'epoch_3.pth')['health']['healthy_epochs'] == [1, 2, 3]
    del config.default_hooks['health']
    config.work_dir = str(tmp_path / 'without')
    assert_unchanged(train(config), judged)


def test_a_warning_names_the_measure_and_training_goes_on(
        config: Config, tmp_path: Path) -> None:
    train_with('GreyImages', config)
    findings = [entry['findings'] for entry in read(tmp_path)['epochs']]
    assert findings[:2] == [[], ['image_diversity is 0, below 0.0001']]
    assert read(tmp_path, 'summary')['finished'] is True
    assert 2 in read(tmp_path, 'summary')['unhealthy_epochs']
    log, = tmp_path.glob('*/*.log')
    assert 'Epoch(health) [2]  unhealthy: image_diversity' in log.read_text()
    # The cause is named in an epoch whose class entropy is not judged.
    assert 'Epoch(health) [2]  the teacher answers every' in log.read_text()


@pytest.mark.parametrize('action, hook, message', [
    ('stop', 'GreyImages', 'epoch 2: image_diversity is 0, below 0.0001'),
    ('warn', 'NanTeacher', 'epoch 2: 4 steps of the student in a row were '
     'skipped'),
    ('warn', 'InfiniteWeight', r'epoch 2: weights are not finite '
     r'\(student.head.fc.bias\)'),
])
def test_an_ended_run_keeps_the_last_healthy_checkpoint(
        action: str, hook: str, message: str, config: Config,
        tmp_path: Path) -> None:
    config.default_hooks.health.update(action=action, max_skipped_steps=3)
    config.train_dataloader.dataset.num_steps = 3
    with pytest.raises(
            UnhealthyRun,
            match=f'{message}.*the last healthy checkpoint is .*epoch_1.pth'
    ) as error:
        train_with(hook, config)
    assert error.value.exit_code == 3
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_1.pth']
    state = read_checkpoint(tmp_path / 'epoch_1.pth')['state_dict']
    assert all(value.isfinite().all() for value in state.values())
