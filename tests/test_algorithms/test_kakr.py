"""KAKR: the gradient of a step, by copies of the student."""
import copy
import json
import math
from pathlib import Path
from typing import Any

import equations
import pytest
import torch
from algorithm_helpers import (CONFIGS, assert_unchanged, continues_exactly,
                               make_algorithm, optimisers, record_gradients,
                               runs_three_iterations, snapshot)
from torch import Tensor, nn

from tadfkd.apis import load_config, train
from tadfkd.errors import UserError
from tadfkd.structures import TeacherOutput

GENERATIVE = dict(
    replay=dict(
        type='GenerativeReplay',
        autoencoder=dict(
            type='VariationalAutoencoder',
            width=4,
            decoder=dict(
                type='UpsamplingGenerator',
                latent_size=6,
                image_size=8,
                image_channels=1,
                width=4))))


def mean_difference(student: nn.Module, teacher: nn.Module,
                    images_BCHW: Tensor) -> Tensor:
    """mean |S - T| with the student's graph."""
    x = equations.normalised(images_BCHW)
    with torch.no_grad():
        teacher_BK = teacher(x, mode='tensor')
    return (student(x, mode='tensor') - teacher_BK).abs().mean()


def assert_near(got: Tensor, expected: Tensor) -> None:
    """By their length: at the kinks of ReLU and L1 round-off decides."""
    assert (got - expected).norm() < 0.02 * expected.norm() + 1e-6


def record_step(model: Any, wrappers: Any) -> dict[str, Any]:
    """Filled with the gradient of a student step and what is replayed."""
    seen: dict[str, Any] = {}
    wrappers['student'].optimizer.register_step_pre_hook(
        lambda *_: seen.update(
            gradients={
                name: parameter.grad.clone()
                for name, parameter in model.student.named_parameters()
            }))
    recall = model.recalled_batch
    model.recalled_batch = lambda: seen.setdefault('recalled', recall())
    return seen


@pytest.mark.parametrize('changes', [dict(), GENERATIVE, dict(inner_lr=0.1)])
def test_the_gradient_is_that_of_copies_of_the_student(changes: dict) -> None:
    model = make_algorithm('KAKR', **changes)
    inner_lr = changes.get('inner_lr', 0.9)
    wrappers = optimisers(model, lr=0.25)
    images_BCHW, target = model.student_batch()
    seen = record_step(model, wrappers)
    here, before = copy.deepcopy(model.student), snapshot(model.student)
    losses = model.student_update(images_BCHW, target, wrappers['student'])
    replayed_BCHW = seen['recalled'][0]

    # w and L(w; x).
    teacher = model.teacher.network
    new = mean_difference(here, teacher, images_BCHW)
    new.backward()
    # w' = w - 0.9 grad L(w; x), with the buffers that the new images left.
    ahead = copy.deepcopy(here)
    with torch.no_grad():
        for parameter, old in zip(ahead.parameters(), here.parameters()):
            parameter -= inner_lr * old.grad
            parameter.grad = None
    retained = mean_difference(ahead, teacher, replayed_BCHW)
    retained.backward()

    assert {
        name: value.item()
        for name, value in losses.items()
    } == pytest.approx(
        dict(
            logits=new.item(),
            retained=retained.item(),
            total=new.item() + retained.item()),
        rel=1e-4)
    parameters = dict(ahead.named_parameters())
    for name, parameter in here.named_parameters():
        got = seen['gradients'][name]
        assert_near(got, parameter.grad + parameters[name].grad)
        torch.testing.assert_close(
            model.student.get_parameter(name).detach(),
            before[name] - 0.25 * got)
        assert model.student.get_parameter(name).grad is None
    # Neither term is next to nothing.
    for student in (here, ahead):
        assert student.backbone.conv1.weight.grad.norm() > 1e-4
    # Batch norm has seen new images once, and replayed ones once.
    buffers = dict(ahead.named_buffers())
    for name, buffer in model.student.named_buffers():
        assert_near(buffer.double(), buffers[name].double())


def test_of_the_replayed_images_the_gradient_is_taken_ahead() -> None:
    gradients = []
    for inner_lr in (1e-6, 0.9):
        torch.manual_seed(0)
        model = make_algorithm('KAKR', inner_lr=inner_lr)
        wrappers = optimisers(model)
        seen = record_step(model, wrappers)
        images_BCHW, target = model.student_batch()
        model.student_update(images_BCHW, target, wrappers['student'])
        gradients.append(seen['gradients']['backbone.conv1.weight'])
    difference = (gradients[0] - gradients[1]).norm()
    assert difference > 0.01 * gradients[0].norm()


def test_without_anything_to_replay_it_is_a_plain_step() -> None:
    model = make_algorithm('KAKR')
    wrappers = optimisers(model)
    images_BCHW = torch.rand(8, 1, 8, 8)
    target = TeacherOutput(model.teacher(images_BCHW).logits_BK)
    here = copy.deepcopy(model.student)
    seen: dict[str, Tensor] = {}
    wrappers['student'].optimizer.register_step_pre_hook(
        lambda *_: seen.update({
            name: parameter.grad.clone()
            for name, parameter in model.student.named_parameters()
        }))
    losses = model.student_update(images_BCHW, target, wrappers['student'])
    mean_difference(here, model.teacher.network, images_BCHW).backward()
    assert {*losses} == {'logits', 'total'}
    for name, parameter in here.named_parameters():
        assert_near(seen[name], parameter.grad)


def test_each_step_trains_one_network() -> None:
    model = make_algorithm('KAKR', num_student_steps=2)
    wrappers = optimisers(model)
    steps = record_gradients(model, wrappers)
    before = snapshot(model.teacher)
    losses = model.train_step(None, wrappers)
    assert [step.network for step in steps] == ['student'] * 2 + ['generator']
    for step in steps:
        assert [*step.gradients] == [step.network]
        assert step.gradients[step.network] > 0
    assert_unchanged(model.teacher, before)
    assert model.counters.student_steps == 2
    assert model.counters.generator_steps == 1
    assert {'student_logits', 'student_retained', 'student_total'
            } == {name
                  for name in losses if name.startswith('student')}


def test_a_generative_replay_learns_in_the_first_student_steps_only() -> None:
    model = make_algorithm('KAKR', num_student_steps=3, **GENERATIVE)
    wrappers = optimisers(model)
    steps = record_gradients(model, wrappers)
    model.train_step(None, wrappers)
    assert [step.network for step in steps
            ] == ['student', 'replay', 'student', 'student', 'generator']
    for step in steps:
        assert [*step.gradients] == [step.network]


def test_a_students_batch_is_of_new_images_alone() -> None:
    model = make_algorithm('KAKR')
    images_BCHW, target = model.student_batch()
    assert images_BCHW.shape == (8, 1, 8, 8)
    torch.testing.assert_close(target.logits_BK,
                               model.teacher(images_BCHW).logits_BK)
    # Four of them are remembered, from the first step on.
    assert torch.equal(model.replay.buffer.rows(), images_BCHW[:4])


def test_a_rate_of_nothing_is_refused_by_name() -> None:
    with pytest.raises(
            UserError, match='inner_lr must be .*set model.inner_lr'):
        make_algorithm('KAKR', inner_lr=0.0)


@pytest.mark.parametrize('changes', [dict(), GENERATIVE])
def test_the_replay_survives_an_interruption(changes: dict) -> None:
    continues_exactly('KAKR', num_steps=2, num_student_steps=2, **changes)


def test_three_iterations_of_the_digits_config(tiny_teacher_checkpoint: str,
                                               tmp_path: Path) -> None:
    model, losses = runs_three_iterations('KAKR', tiny_teacher_checkpoint,
                                          tmp_path)
    # Six student steps, each of which adds four images.
    assert len(model.replay.buffer) == 24
    for row in losses:
        assert 'student_retained' in row
        assert not any(name.startswith('replay') for name in row)


def test_three_iterations_of_the_generative_digits_config(
        tiny_options: dict[str, Any], tmp_path: Path) -> None:
    config = load_config(
        CONFIGS / 'kakr' / 'resnet18w16_to_resnet18w8_digits_generative.py',
        tiny_options
        | {
            'model.replay_batch_size': 4,
            'model.num_replay_steps': 1,
            'model.replay.autoencoder.width': 4,
            'model.replay.autoencoder.decoder.width': 4,
            'train_dataloader.dataset.num_steps': 3,
            'train_cfg.max_epochs': 1,
            'default_hooks.logger.interval': 1
        },
        work_dir=str(tmp_path),
        evaluate=False)
    model = train(config)
    assert model.counters.student_steps == 6
    assert model.counters.generator_steps == 3
    [log] = tmp_path.glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    rows = [row for row in rows if 'iter' in row]
    assert len(rows) == 3
    for row in rows:
        names = ('student_logits', 'student_retained', 'replay_images',
                 'replay_logits', 'replay_divergence', 'generator_adversarial')
        assert {*names} < {*row}
        assert all(math.isfinite(row[name]) for name in names)
