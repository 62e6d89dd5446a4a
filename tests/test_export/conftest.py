"""A run that is exported once, and what its student should answer."""
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch import Tensor

from tadfkd.algorithms import BaseDFKD
from tadfkd.apis import distill, export_student, load_config
from tadfkd.checkpoints.reading import read_checkpoint
from tadfkd.classifiers.build import build_classifier
from tadfkd.export import FORMAT_NAMES

SCRIPT = Path(__file__).with_name('foreign_libraries.py')


@pytest.fixture(scope='session')
def run_dir(digits_config: str, tiny_teacher_checkpoint: str,
            shared_tiny_options: dict[str, Any],
            tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work directory of a tiny run; its student is in every format."""
    work_dir = tmp_path_factory.mktemp('export') / 'run'
    distill(
        digits_config,
        options=shared_tiny_options | {
            'model.teacher.checkpoint': tiny_teacher_checkpoint,
            'default_hooks.student_files': None,
            'default_hooks.report': None
        },
        work_dir=str(work_dir))
    assert export_student(work_dir, FORMAT_NAMES) == work_dir / 'student'
    return work_dir


@pytest.fixture(scope='session')
def images_BCHW() -> Tensor:
    """Five random images, the size of the digits."""
    return torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope='session')
def expected_BK(run_dir: Path, images_BCHW: Tensor, digits_config: str,
                shared_tiny_options: dict[str, Any]) -> Tensor:
    """The logits of the checkpoint's student, by a formula of its own."""
    model = load_config(digits_config, shared_tiny_options).model
    network = build_classifier(model.student.to_dict())
    network.load_state_dict({
        name.removeprefix('student.'): value
        for name, value in read_checkpoint(run_dir / 'epoch_2.pth')
        ['state_dict'].items() if name.startswith('student.')
    })
    with torch.no_grad():
        logits_BK = network.eval()(
            (images_BCHW * 255 - 77.7) / 81.2, mode='tensor')
    # The answers differ, so that a wrong one can be seen.
    assert logits_BK.std(0).max() > 0.01
    return logits_BK


@pytest.fixture(scope='session')
def foreign_logits(run_dir: Path, images_BCHW: Tensor,
                   tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The logits of five images and of the first one, by format.

    They are computed in a process that never imports tadfkd.
    """
    file = tmp_path_factory.mktemp('images') / 'images.npy'
    np.save(file, images_BCHW.numpy())
    process = subprocess.run(
        [sys.executable, SCRIPT, run_dir / 'student', file],
        cwd=file.parent,
        capture_output=True,
        text=True)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


@pytest.fixture
def make_run(
    make_model: Callable[...,
                         BaseDFKD]) -> Callable[..., tuple[BaseDFKD, Config]]:
    """Builds an untrained model and the part of its config that is read."""

    def make(student: dict | str, **changes: Any) -> tuple[BaseDFKD, Config]:
        model = make_model(student=student, **changes)
        return model, Config(
            dict(model=dict(type='TADFKD', student=student, teacher=dict())))

    return make
