"""KAKR: the gradient of a student step, by copies of the student."""
import copy

import equations
import pytest
import torch
from algorithm_helpers import (DIGITS, make_algorithm, one_iteration,
                               optimisers, snapshot)
from torch import Tensor, nn

GENERATIVE = f'{DIGITS}_generative'


def mean_difference(student: nn.Module, teacher: nn.Module,
                    images_BCHW: Tensor) -> Tensor:
    """mean |S - T| with the student's graph."""
    x = equations.normalised(images_BCHW)
    with torch.no_grad():
        teacher_BK = teacher(x, mode='tensor')
    return (student(x, mode='tensor') - teacher_BK).abs().mean()


def assert_near(got: Tensor, expected: Tensor) -> None:
    """By their length: at the kinks of ReLU and L1 round-off decides."""
    assert (got - expected).norm() < 0.02 * expected.norm() + 1e-5


@pytest.mark.parametrize('leaf, inner_lr', [(DIGITS, 0.9), (GENERATIVE, 0.9),
                                            (DIGITS, 0.1)])
def test_the_gradient_is_that_of_copies_of_the_student(
        leaf: str, inner_lr: float) -> None:
    model = make_algorithm('KAKR', leaf, inner_lr=inner_lr)
    wrappers = optimisers(model, lr=0.25)
    one_iteration(model, wrappers)
    here, before = copy.deepcopy(model.student), snapshot(model.student)
    seen = one_iteration(model, wrappers)
    new_call, replayed_call = seen.of('student', training=True)
    assert new_call.images_BCHW.equal(seen.made[0])
    assert len(replayed_call.images_BCHW) == 4

    # w and L(w; x).
    teacher = model.teacher.network
    new = mean_difference(here, teacher, new_call.images_BCHW)
    new.backward()
    # w' = w - 0.9 grad L(w; x), with the buffers that the new images left.
    ahead = copy.deepcopy(here)
    with torch.no_grad():
        for parameter, old in zip(ahead.parameters(), here.parameters()):
            parameter -= inner_lr * old.grad
            parameter.grad = None
    retained = mean_difference(ahead, teacher, replayed_call.images_BCHW)
    retained.backward()
    for name, value in dict(
            logits=new, retained=retained, total=new + retained).items():
        assert seen.losses[f'student_{name}'] == pytest.approx(
            value.item(), rel=1e-3)
    for name, parameter in here.named_parameters():
        got = (before[name] - model.student.get_parameter(name)) / 0.25
        assert_near(got, parameter.grad + ahead.get_parameter(name).grad)
    # Neither term is next to nothing.
    for student in (here, ahead):
        assert student.backbone.conv1.weight.grad.norm() > 1e-4
    # Batch norm has seen new images once, and replayed ones once.
    buffers = dict(ahead.named_buffers())
    for name, buffer in model.student.named_buffers():
        assert_near(buffer.double(), buffers[name].double())


def test_the_released_form_is_one_mean_over_new_and_replayed_images() -> None:
    model = make_algorithm('KAKR', f'{DIGITS}_released')
    wrappers = optimisers(model, lr=0.25)
    one_iteration(model, wrappers)
    here, before = copy.deepcopy(model.student), snapshot(model.student)
    seen = one_iteration(model, wrappers)
    [call] = seen.of('student', training=True)
    assert call.images_BCHW[:8].equal(seen.made[0])
    assert len(call.images_BCHW) == 8 + 4
    loss = mean_difference(here, model.teacher.network, call.images_BCHW)
    loss.backward()
    assert seen.losses['student_total'] == pytest.approx(loss.item(), rel=1e-3)
    for name, parameter in here.named_parameters():
        got = (before[name] - model.student.get_parameter(name)) / 0.25
        assert_near(got, parameter.grad)
