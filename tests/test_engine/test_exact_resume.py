"""A resumed run ends with the same bits as a run that never stopped."""
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from algorithm_helpers import CONFIGS, config_folder, shrinking_options
from mmengine.config import Config

from benchmarks.run_end import differences, read_run_end
from tadfkd.apis import load_config, train
from tadfkd.checkpoints.reading import read_checkpoint

# An epoch of shrunk algorithms has as many steps.
NUM_EPOCHS, NUM_STEPS = 2, 3
SUPERVISED = CONFIGS / 'teachers/resnet18w16_digits.py'
# In addition to the usual hook: a checkpoint after each iteration.
EVERY_STEP = dict(type='tadfkd.CheckpointHook', interval=1, by_epoch=False)
WITHIN, AFTER = 'iter_2.pth', 'epoch_1.pth'


def assert_resumes_exactly(make_config: Callable[[Path], Config],
                           tmp_path: Path, *checkpoints: str) -> None:
    """Train once to the end, and again from each of the checkpoints."""
    whole = tmp_path / 'whole'
    config = make_config(whole)
    config.custom_hooks = [*config.get('custom_hooks', []), EVERY_STEP]
    train(config)
    expected = read_run_end(whole)
    log = expected.pop('log')
    assert expected['figures'] and expected['train_loop']['random_states']
    for name in checkpoints:
        config = make_config(tmp_path / name)
        config.resume, config.load_from = True, str(whole / name)
        train(config)
        found = read_run_end(tmp_path / name)
        rest = found.pop('log')
        assert differences(expected, found) == []
        assert rest.items() <= log.items()
        done = read_checkpoint(whole / name)['meta']['iter']
        assert [row['iter'] for row in rest.values() if 'lr' in str(row)
                ] == [*range(done + 1, NUM_EPOCHS * NUM_STEPS + 1)]
        assert len([
            row for row in rest.values() if 'accuracy/top1' in row
        ]) == len([row for row in log.values() if 'accuracy/top1' in row])


def tiny(type: str, checkpoint: str,
         **changes: Any) -> Callable[[Path], Config]:
    """Makes configs of an algorithm's digits with tiny networks."""

    def make(work_dir: Path) -> Config:
        merged = shrinking_options(type, checkpoint) | {
            'train_cfg.max_epochs': NUM_EPOCHS,
            # Packing the images takes as long as all the rest.
            'val_dataloader.dataset.serialize_data': False
        }
        return load_config(
            config_folder(type) / 'resnet18w16_to_resnet18w8_digits.py',
            merged,
            work_dir=str(work_dir),
            **changes)

    return make


# With pool and bank, with pixels, with replay. The state of every algorithm is
# saved and restored in test_every_algorithm.py, without a run.
@pytest.mark.parametrize('type', ['CMI', 'DeepInversion', 'PREDFKD'])
def test_an_algorithm_with_memory_resumes_within_an_epoch(
        type: str, tiny_teacher_checkpoint: str, tmp_path: Path) -> None:
    assert_resumes_exactly(
        tiny(type, tiny_teacher_checkpoint, evaluate=False), tmp_path, WITHIN)


def test_a_fast_run_with_averaged_weights_and_dropout_resumes(
        tiny_teacher_checkpoint: str, tmp_path: Path) -> None:
    # Dropout draws from the global generators, and so does the evaluation in
    # between, which uses the averaged weights.
    make = tiny('TADFKD', tiny_teacher_checkpoint, amp=True, fast=True)

    def make_config(work_dir: Path) -> Config:
        config = make(work_dir)
        config.model.student.backbone = dict(
            type='tadfkd.WideResNet',
            depth=10,
            widen_factor=1,
            in_channels=1,
            dropout=0.3)
        config.model.student.head.in_channels = 64
        config.custom_hooks = [
            dict(
                type='EMAHook',
                ema_type='ExponentialMovingAverage',
                momentum=0.3)
        ]
        return config

    assert_resumes_exactly(make_config, tmp_path, AFTER)


def test_a_classifier_with_random_transforms_resumes(tmp_path: Path) -> None:

    def make_config(work_dir: Path) -> Config:
        return load_config(
            SUPERVISED, {
                'model.backbone.base_channels': 4,
                'model.backbone.stem_channels': 4,
                'model.head.in_channels': 32,
                'train_dataloader.batch_size': 40,
                'train_dataloader.dataset.indices': 40 * NUM_STEPS,
                'train_cfg.max_epochs': NUM_EPOCHS,
                'train_cfg.val_interval': 1,
                'default_hooks.logger.interval': 1,
                'default_hooks.checkpoint.interval': 1
            },
            work_dir=str(work_dir))

    assert_resumes_exactly(make_config, tmp_path, WITHIN, AFTER)
