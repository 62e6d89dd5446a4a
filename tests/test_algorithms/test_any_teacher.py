"""A whole iteration with a teacher of each kind."""
import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from algorithm_helpers import (assert_identical, make_algorithm, one_iteration,
                               optimisers)
from tiny_networks import classifier, convolutional, save_hugging_face

FIELDS = dict(mean=[127.5] * 3, std=[63.75] * 3, input_size=32)
GENERATOR = dict(
    type='UpsamplingGenerator',
    latent_size=6,
    image_size=16,
    image_channels=3,
    width=4)


def of_mmpretrain(folder: Path) -> dict:
    """A model dict of mmpretrain."""
    return dict(
        type='MMPretrainTeacher',
        model=classifier(in_channels=3),
        allow_random_weights=True)


def of_transformers(folder: Path) -> dict:
    """A folder as Hugging Face writes it."""
    pytest.importorskip('transformers')
    save_hugging_face(folder)
    return dict(
        type='MMPretrainTeacher',
        model=f'transformers::{folder}',
        allow_random_weights=True)


def of_torchvision(folder: Path) -> dict:
    """A small network with batch norm."""
    return dict(
        type='TorchvisionTeacher',
        model='shufflenet_v2_x0_5',
        arguments=dict(num_classes=5),
        allow_random_weights=True)


def of_a_factory(folder: Path) -> dict:
    """By its path."""
    return dict(type='ModuleTeacher', factory='tiny_networks:convolutional')


def of_a_script(folder: Path) -> dict:
    """A TorchScript file."""
    path = folder / 'net.pt'
    torch.jit.save(torch.jit.script(convolutional().eval()), path)
    return dict(
        type='TorchScriptTeacher', checkpoint=str(path), trust_checkpoint=True)


BATCH_NORM = [of_mmpretrain, of_transformers, of_torchvision, of_a_factory]
EACH = pytest.mark.parametrize(
    'kind', [*BATCH_NORM, of_a_script], ids=lambda kind: kind.__name__)


def make(teacher: dict, **changes: Any) -> Any:
    """A distillation of RGB images."""
    return make_algorithm(
        'TADFKD',
        **dict(
            teacher=teacher | FIELDS,
            student=classifier(in_channels=3),
            generator=GENERATOR,
            image_losses={}) | changes)


@EACH
def test_an_iteration_trains_both_networks_and_leaves_the_teacher(
        kind: Callable, tmp_path: Path) -> None:
    model = make(kind(tmp_path))
    # A student that says the same of all images: the teacher alone moves the
    # generator.
    torch.nn.init.zeros_(model.student.head.fc.weight)
    images_BCHW = torch.rand(3, 3, 16, 16)
    before = copy.deepcopy(model.teacher.state_dict())
    answer_BK = model.teacher(images_BCHW).logits_BK
    seen = one_iteration(model, optimisers(model, lr=1e-9))
    assert seen.order == ['student', 'generator']
    for step in seen.steps:
        assert 0 < step.gradients[step.network] < math.inf
        assert set(step.gradients) == {step.network}
    assert ('generator_bn' in seen.losses) == (kind in BATCH_NORM)
    assert_identical(model.teacher.state_dict(), before)
    torch.testing.assert_close(model.teacher(images_BCHW).logits_BK, answer_BK)
