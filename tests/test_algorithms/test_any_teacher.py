"""A whole iteration with a teacher of each kind."""
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from tiny_networks import classifier, convolutional, save_hugging_face
from torch import Tensor

FIELDS = dict(mean=[127.5] * 3, std=[63.75] * 3, input_size=32)


def of_mmpretrain(folder: Path) -> dict:
    """A model dict of mmpretrain."""
    return dict(
        type='MMPretrainTeacher',
        model=classifier(in_channels=3),
        allow_random_weights=True)


def of_timm(folder: Path) -> dict:
    """A small ResNet."""
    pytest.importorskip('timm')
    return dict(
        type='MMPretrainTeacher',
        model=dict(
            type='TimmClassifier', model_name='test_resnet', num_classes=5),
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


def of_a_frozen_script(folder: Path) -> dict:
    """A TorchScript file whose weights are constants."""
    path = folder / 'net.pt'
    torch.jit.save(
        torch.jit.freeze(torch.jit.script(convolutional().eval())), path)
    return dict(
        type='TorchScriptTeacher', checkpoint=str(path), trust_checkpoint=True)


WITH_BATCH_NORM = [
    of_mmpretrain, of_timm, of_transformers, of_torchvision, of_a_factory
]
SCRIPTS = [of_a_script, of_a_frozen_script]


@pytest.fixture
def messages() -> Iterator[list[str]]:
    """What is logged."""
    texts: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: texts.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield texts
    logger.removeHandler(handler)


@pytest.fixture
def make(make_model: Callable, tmp_path: Path) -> Callable:
    """Builds a distillation of RGB images from a teacher of some kind."""

    def build(kind: Callable[[Path], dict], **changes: Any) -> Any:
        return make_model(**dict(
            teacher=kind(tmp_path) | FIELDS,
            student=classifier(in_channels=3),
            generator=dict(
                type='UpsamplingGenerator',
                latent_size=6,
                image_size=16,
                image_channels=3,
                width=4)) | changes)

    return build


def record_gradients(wrapper: OptimWrapper) -> list[Tensor]:
    """Filled with those of the next steps, just before they are taken."""
    gradients: list[Tensor] = []

    def record(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        gradients.extend(parameter.grad.clone()
                         for group in optimizer.param_groups
                         for parameter in group['params'])

    wrapper.optimizer.register_step_pre_hook(record)
    return gradients


@pytest.mark.parametrize(
    'kind', WITH_BATCH_NORM + SCRIPTS, ids=lambda kind: kind.__name__)
def test_an_iteration_trains_both_networks_and_leaves_the_teacher(
        make: Callable, make_optimisers: Callable, kind: Callable,
        messages: list[str]) -> None:
    model = make(kind).train()
    optimisers = make_optimisers(model)
    gradients = {
        name: record_gradients(optimisers[name])
        for name in ('student', 'generator')
    }
    images_BCHW = torch.rand(3, 3, 16, 16)
    before = {
        name: value.clone()
        for name, value in model.teacher.state_dict().items()
    }
    answer_BK = model.teacher(images_BCHW).logits_BK
    has_batch_norm = kind in WITH_BATCH_NORM

    losses = model.train_step(None, optimisers)

    assert all(torch.isfinite(value) for value in losses.values())
    assert ('generator_bn' in losses) == has_batch_norm
    for name in ('student', 'generator'):
        assert gradients[name]
        assert all(
            torch.isfinite(gradient).all() for gradient in gradients[name])
        assert sum(gradient.norm() for gradient in gradients[name]) > 0
    after = model.teacher.state_dict()
    assert after.keys() == before.keys()
    changed = [
        name for name in before if not torch.equal(after[name], before[name])
    ]
    assert changed == []
    assert all(parameter.grad is None
               for parameter in model.teacher.parameters())
    torch.testing.assert_close(model.teacher(images_BCHW).logits_BK, answer_BK)
    warned = [text for text in messages if 'bn_loss is left out' in text]
    assert len(warned) == (0 if has_batch_norm else 1)


@pytest.mark.parametrize(
    'kind', WITH_BATCH_NORM + SCRIPTS, ids=lambda kind: kind.__name__)
def test_the_teacher_alone_moves_the_generator(make: Callable,
                                               make_optimisers: Callable,
                                               kind: Callable) -> None:
    # Without batch-norm and image terms, and without a way through the
    # student: only the teacher's logits tell the generator anything.
    model = make(
        kind,
        bn_loss=dict(type='BNStatisticsLoss', loss_weight=0.0),
        image_losses={}).train()
    torch.nn.init.zeros_(model.student.head.fc.weight)
    wrapper = make_optimisers(model)['generator']
    gradients = record_gradients(wrapper)
    model.generator_step(wrapper)
    assert sum(gradient.norm() for gradient in gradients) > 0


def test_a_named_student_learns_from_a_teacher_of_another_library(
        make: Callable, make_optimisers: Callable) -> None:
    pytest.importorskip('timm')
    model = make(
        of_a_factory, student='timm::test_resnet', student_input_size=32)
    assert model.num_classes == 5
    before = [value.clone() for value in model.student.parameters()]
    losses = model.train().train_step(None, make_optimisers(model))
    assert all(torch.isfinite(value) for value in losses.values())
    assert any(not torch.equal(old, new)
               for old, new in zip(before, model.student.parameters()))
