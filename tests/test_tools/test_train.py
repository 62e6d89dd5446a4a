"""tools/train.py, tools/test.py and print_config.py, as a user calls them."""
import json
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

Run = Callable[..., subprocess.CompletedProcess]

DIGITS = 'configs/tadfkd/resnet18w16_to_resnet18w8_digits.py'
FLAGSHIP = 'configs/tadfkd/resnet34_to_resnet18_cifar10.py'
SHORT = [
    'model.batch_size=8',
    'model.num_student_steps=2',
    'default_hooks.summary.num_images=16',
    'default_hooks.logger.interval=1',
    # They take longer than the run.
    'default_hooks.student_files=None',
    'default_hooks.report=None',
    # The teachers of these tests have random weights.
    'default_hooks.teacher_sanity.min_top1=0'
]


def log_lines(work_dir: Path) -> list[dict]:
    """All logged values in order, without time and memory."""
    lines = []
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines():
            lines.append({
                key: value
                for key, value in json.loads(line).items()
                if 'time' not in key and key != 'memory'
            })
    return lines


def networks(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The weights in a checkpoint."""
    return torch.load(checkpoint, weights_only=False)['state_dict']


def test_six_iterations_twice_give_the_same_log_and_accuracy(
        run_tool_process: Run, teacher_of: Callable[[str], Path],
        tmp_path: Path) -> None:
    logs, weights = [], []
    for name in ('first', 'second'):
        run_tool_process(
            'train.py',
            DIGITS,
            '--work-dir',
            tmp_path / name,
            '--teacher-checkpoint',
            teacher_of('resnet18w16_digits'),
            '--seed',
            7,
            '--cfg-options',
            *SHORT,
            'train_cfg.max_epochs=2',
            'train_dataloader.dataset.num_steps=3',
            # A new interpreter has another hash seed.
            forked=name == 'first')
        logs.append(log_lines(tmp_path / name))
        weights.append(networks(tmp_path / name / 'epoch_2.pth'))
    assert len([line for line in logs[0] if 'student_total' in line]) == 6
    assert logs[0] == logs[1]
    assert all(
        value.equal(weights[1][key]) for key, value in weights[0].items())
    summary = json.loads((tmp_path / 'first/summary.json').read_text())
    assert summary['seed'] == 7
    assert summary['student_steps'] == 12
    assert summary['generator_steps'] == 6
    assert summary['finished'] is True
    # tools/test.py needs no teacher.
    process = run_tool_process('test.py', DIGITS,
                               tmp_path / 'first/epoch_2.pth', '--work-dir',
                               tmp_path / 'test')
    top1 = f'accuracy/top1: {summary["student_top1_last"]:.4f}'
    assert top1 in process.stdout


@pytest.fixture
def cifar10_folder(tmp_path: Path) -> Path:
    """Ten random images in each of CIFAR-10's files."""
    random = np.random.default_rng(0)
    folder = tmp_path / 'cifar10' / 'cifar-10-batches-py'
    folder.mkdir(parents=True)
    for name in [f'data_batch_{i}' for i in range(1, 6)] + ['test_batch']:
        content = dict(
            data=random.integers(0, 256, (10, 3072), dtype=np.uint8),
            labels=list(range(10)))
        (folder / name).write_bytes(pickle.dumps(content))
    return folder.parent


def test_the_flagship_runs(run_tool_process: Run, teacher_of: Callable[[str],
                                                                       Path],
                           cifar10_folder: Path, tmp_path: Path) -> None:
    run_tool_process(
        'train.py', FLAGSHIP, '--work-dir', tmp_path / 'run', '--cfg-options',
        f'model.teacher.checkpoint={teacher_of("resnet34_cifar10")}',
        f'val_dataloader.dataset.data_root={cifar10_folder}',
        'model.batch_size=2', 'train_dataloader.dataset.num_steps=1',
        'train_cfg.max_epochs=1', 'model.num_student_steps=1',
        'default_hooks.summary.num_images=4',
        'default_hooks.samples.num_images=4',
        'default_hooks.student_files=None', 'default_hooks.report=None',
        'default_hooks.teacher_sanity.min_top1=0')
    summary = json.loads((tmp_path / 'run/summary.json').read_text())
    assert summary['finished'] is True
    assert (summary['student_steps'], summary['generator_steps']) == (1, 1)
    # There are ten images, one per class.
    assert summary['student_top1_last'] % 10 == pytest.approx(0, abs=1e-3)
    weights = networks(tmp_path / 'run/epoch_1.pth')
    assert {key.split('.')[0] for key in weights} == {'student', 'generator'}


def test_the_printed_config_is_complete(run_tool_process: Run) -> None:
    process = run_tool_process('misc/print_config.py', FLAGSHIP,
                               '--cfg-options', 'model.batch_size=3')
    scope: dict = {}
    exec(process.stdout, scope)
    assert scope['model']['batch_size'] == 3
    assert scope['model']['teacher']['model']['backbone']['depth'] == 34
