"""Losses of logits against NumPy in float64, class by class."""
import math
from collections.abc import Callable

import equations
import numpy as np
import pytest
import torch
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.losses import (AgreedKLLoss, BaseLoss, JSLoss, KLLoss, L1Loss,
                           LogitsLoss)
from tadfkd.structures import TeacherOutput

RELEASED = dict(
    reduction='mean', clamp=(0.01, 0.99), swapped=True, bounded=True)
ALL = [
    L1Loss(),
    KLLoss(temperature=4.0),
    AgreedKLLoss(),
    JSLoss(temperature=3.0),
    JSLoss(swapped=True),
    JSLoss(**RELEASED)
]
SHAPES = pytest.mark.parametrize('batch, classes', [(1, 2), (7, 10), (3, 100)])


def logits(batch: int, classes: int, seed: int, scale: float = 4.0) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    return scale * torch.randn(batch, classes, generator=stream)


def js_by_hand(student_BK: Tensor,
               teacher_BK: Tensor,
               temperature: float = 1.0,
               reduction: str = 'batchmean',
               clamp: tuple[float, float] | None = None,
               swapped: bool = False,
               bounded: bool = False) -> float:
    p, q = (
        equations.softmax(x.double().numpy(), temperature)
        for x in (student_BK, teacher_BK))
    # The mean is taken first, then all three are clamped.
    p, q, m = (x.clip(*(clamp or (0.0, 1.0))) for x in (p, q, (p + q) / 2))
    terms_BK = m * np.log(m / p) + m * np.log(m / q) if swapped \
        else p * np.log(p / m) + q * np.log(q / m)
    per_sample = terms_BK.sum(1).mean() / 2
    value = per_sample / (p.shape[1] if reduction == 'mean' else 1)
    return min(max(value, 0.0), 1.0) if bounded else value


@SHAPES
def test_l1_is_the_mean_absolute_difference(batch: int, classes: int) -> None:
    student_BK, teacher_BK = (logits(batch, classes, seed) for seed in (1, 2))
    expected = np.abs(student_BK.numpy() - teacher_BK.numpy()).mean()
    assert L1Loss(loss_weight=3)(student_BK, teacher_BK).item() \
        == pytest.approx(3 * expected, rel=1e-5)


@pytest.mark.parametrize('temperature', [1.0, 4.0, 20.0])
@SHAPES
def test_kl_is_of_the_student_from_the_teacher(batch: int, classes: int,
                                               temperature: float) -> None:
    student_BK, teacher_BK = (logits(batch, classes, seed) for seed in (1, 2))
    expected = equations.kl(student_BK.double().numpy(),
                            teacher_BK.double().numpy(), temperature)
    assert KLLoss(temperature)(student_BK, teacher_BK).item() \
        == pytest.approx(expected, rel=1e-4, abs=1e-7 * temperature**2)


def test_the_mean_over_classes_is_smaller_by_their_number() -> None:
    student_BK, teacher_BK = (logits(7, 10, seed) for seed in (1, 2))
    assert KLLoss(
        2.0, reduction='mean')(student_BK, teacher_BK).item() \
        == pytest.approx(
            equations.kl(student_BK.double().numpy(),
                         teacher_BK.double().numpy(), 2.0) / 10, rel=1e-4)


def test_the_temperature_of_the_config_is_the_one_in_the_student_step(
        make_model: Callable) -> None:
    # Public code overwrites it by 1 somewhere between config and loss.
    model = make_model(student_loss=dict(type='KLLoss', temperature=7.0))
    model.eval()
    images_BCHW, teacher_BK = torch.rand(6, 1, 8, 8), logits(6, 5, 2)
    with torch.no_grad():
        student_BK = model.student_logits(images_BCHW).double().numpy()
        losses = model.student_losses(images_BCHW, TeacherOutput(teacher_BK))
    assert losses['logits'].item() == pytest.approx(
        equations.kl(student_BK,
                     teacher_BK.double().numpy(), 7.0), rel=1e-4)


@pytest.mark.parametrize('batch, classes', [(1, 2), (40, 5), (9, 100)])
def test_agreed_kl_counts_samples_of_one_opinion(batch: int,
                                                 classes: int) -> None:
    student_BK = logits(batch, classes, 1)
    # Near enough that some samples agree, and some do not.
    teacher_BK = student_BK + logits(batch, classes, 2)
    agreed = (student_BK.argmax(1) == teacher_BK.argmax(1)).sum()
    assert batch == 1 or 0 < agreed < batch
    expected = equations.agreed_kl(student_BK.double().numpy(),
                                   teacher_BK.double().numpy())
    assert AgreedKLLoss(loss_weight=3)(student_BK, teacher_BK).item() \
        == pytest.approx(3 * expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize('options', [
    {},
    dict(temperature=3.0),
    dict(swapped=True),
    dict(reduction='mean'),
    dict(clamp=(0.01, 0.99)),
    dict(RELEASED, temperature=3.0),
    dict(RELEASED, clamp=(0.05, 0.4)),
])
@SHAPES
def test_js_agrees_with_its_definition(batch: int, classes: int,
                                       options: dict) -> None:
    student_BK, teacher_BK = (logits(batch, classes, seed) for seed in (1, 2))
    assert JSLoss(**options)(student_BK, teacher_BK).item() == pytest.approx(
        js_by_hand(student_BK, teacher_BK, **options), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize('loss', ALL, ids=repr)
def test_extreme_logits_give_finite_values_and_gradients(
        loss: LogitsLoss) -> None:
    extreme_BK = torch.tensor([[1e4, -1e4, 0.0, 1e4], [-1e4] * 4,
                               [1e4, 0.0, 0.0, 0.0], [0.0, -1e4, 1e4, 50.0]])
    student_BK = extreme_BK.clone().requires_grad_()
    teacher_BK = extreme_BK.flip(0, 1).requires_grad_()
    value = loss(student_BK, teacher_BK)
    value.backward()
    assert value.isfinite() and value > 0
    for tensor_BK in (student_BK, teacher_BK):
        assert tensor_BK.grad is not None
        assert tensor_BK.grad.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('loss', ALL, ids=repr)
def test_half_precision_logits_are_computed_in_float32(
        loss: LogitsLoss, dtype: torch.dtype) -> None:
    student_BK, teacher_BK = (logits(6, 50, seed).to(dtype) for seed in (1, 2))
    value = loss(student_BK, teacher_BK)
    assert value.dtype == torch.float32
    assert value == loss(student_BK.float(), teacher_BK.float())


def gradient_norm(loss: JSLoss, classes: int) -> float:
    """Of the student's logits, for two classifiers that are unsure."""
    student_BK = logits(32, classes, 1, 0.5).requires_grad_()
    teacher_BK = logits(32, classes, 2, 0.5)
    return torch.autograd.grad(loss(student_BK, teacher_BK),
                               student_BK)[0].norm().item()


def test_the_released_clamp_kills_the_gradient_of_many_classes() -> None:
    # The reason why the default is not the released form: ten classes have
    # their gradient in both, 200 classes in the true divergence only.
    true, clamped = JSLoss(3.0), JSLoss(3.0, clamp=(0.01, 0.99), swapped=True)
    assert gradient_norm(clamped, 10) == pytest.approx(
        gradient_norm(true, 10), rel=0.1)
    # It falls with the norm of a softmax, 1 / sqrt(K), and no faster.
    assert gradient_norm(
        true, 200) > gradient_norm(true, 10) * math.sqrt(10 / 200) / 2
    assert gradient_norm(clamped, 200) < gradient_norm(true, 200) / 1000


@pytest.mark.parametrize('kind, options, changed',
                         [(KLLoss, dict(temperature=0), 'temperature'),
                          (JSLoss, dict(temperature=-3.0), 'temperature'),
                          (JSLoss, dict(reduction='sum'), 'reduction'),
                          (JSLoss, dict(clamp=(0.0, 0.99)), 'clamp'),
                          (JSLoss, dict(clamp=(0.9, 0.1)), 'clamp')])
def test_bad_options_name_what_to_change(kind: type[BaseLoss], options: dict,
                                         changed: str) -> None:
    with pytest.raises(UserError, match=f'set .*{changed}.*') as caught:
        kind(**options)
    assert repr(options[changed]) in str(caught.value)
    assert kind.__name__ in str(caught.value)


@pytest.mark.parametrize(
    'seed, classes, student_scale, teacher_scale, loss, gradient',
    # What bigdata-inha/TA-DFKD-Official gives at 5cb7f8a in float64, of one
    # minus the divergence. The last clamp acts in the second row only.
    [(11, 10, 8, 20, 0.96426671, 0.00189292543), (16, 100, 3, 3, 1.0, 0.0)])
def test_the_released_form_has_the_values_of_the_released_code(
        seed: int, classes: int, student_scale: int, teacher_scale: int,
        loss: float, gradient: float) -> None:
    stream = torch.Generator().manual_seed(seed)
    student_BK, teacher_BK = (
        (torch.rand(8, classes, generator=stream) - 0.5) * scale
        for scale in (student_scale, teacher_scale))
    student_BK.requires_grad_()
    found = 1 - JSLoss(temperature=3.0, **RELEASED)(student_BK, teacher_BK)
    found.backward()
    assert found.item() == pytest.approx(loss, rel=1e-6)
    assert student_BK.grad is not None
    assert student_BK.grad.norm().item() == pytest.approx(gradient, rel=1e-4)
    open_ended = RELEASED | dict(bounded=False)
    value = JSLoss(temperature=3.0, **open_ended)(student_BK, teacher_BK)
    assert (value.item() < 0) == (gradient == 0)
