"""tools/check_teacher.py, as a user calls it."""
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from tiny_networks import classifier

from tadfkd.apis import load_config
from tadfkd.classifiers.build import build_classifier

DIGITS = 'configs/tadfkd/resnet18w16_to_resnet18w8_digits.py'


def as_arguments(options: dict[str, Any]) -> list[str]:
    """Options as ``--cfg-options`` takes them."""
    return [
        '--cfg-options', *(f'{key}={value}' for key, value in options.items())
    ]


def test_a_good_teacher_ends_with_0_and_json(
        run_tool_process: Callable[..., subprocess.CompletedProcess],
        tiny_options: dict[str, Any]) -> None:
    process = run_tool_process('check_teacher.py', DIGITS, '--json',
                               *as_arguments(tiny_options))
    report = json.loads(process.stdout)
    assert report['verdict'] == 'OK'
    assert report['top1'] > 50
    assert report['steps']['iteration_seconds'] > 0


def test_a_bad_teacher_ends_with_1_and_says_why(
        run_tool_process: Callable[..., subprocess.CompletedProcess],
        tiny_options: dict[str, Any], tiny_teacher_checkpoint: str) -> None:
    process = run_tool_process(
        'check_teacher.py',
        DIGITS,
        '--checkpoint',
        tiny_teacher_checkpoint,
        '--min-top1',
        '100',
        *as_arguments(tiny_options),
        check=False)
    assert process.returncode == 1
    assert process.stdout.splitlines()[-1].startswith('unusable: top-1 is ')


def test_the_config_that_it_writes_distils(run_tool_process: Callable[
    ..., subprocess.CompletedProcess], tmp_path: Path) -> None:
    network = classifier(in_channels=3)
    Config(dict(model=network)).dump(tmp_path / 'mine.py')
    torch.save(
        build_classifier(network).state_dict(), tmp_path / 'teacher.pth')
    path = tmp_path / 'run.py'
    arguments = ('check_teacher.py', tmp_path / 'mine.py', '--checkpoint',
                 tmp_path / 'teacher.pth', '--student', tmp_path / 'mine.py',
                 '--cfg-options', 'model.teacher.input_size=8')
    process = run_tool_process(*arguments, '--write', path)
    assert f'tadfkd train {path}' in process.stderr
    config = load_config(path)
    assert config.model.type == 'AgnosticDFKD'
    assert config.model.generator.image_size == (8, 8)
    # It was written for a run without data.
    assert config.val_dataloader is None
    run_tool_process(
        'train.py', path, '--work-dir', tmp_path / 'run', '--cfg-options',
        'model.generator.width=4', 'model.generator.latent_size=16',
        'model.batch_size=8', 'model.procedural.size=16',
        'model.procedural.num_candidates=32', 'model.num_generator_steps=1',
        'model.num_student_steps=1', 'model.num_first_syntheses=1',
        'train_cfg.max_epochs=1', 'train_dataloader.dataset.num_steps=1')
    summary = json.loads((tmp_path / 'run/summary.json').read_text())
    assert summary['student_steps'] == 1 and summary['finished']
