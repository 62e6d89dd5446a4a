"""Measures on synthetic images."""
import copy
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tadfkd.algorithms import BaseDFKD
from tadfkd.evaluation import measure_synthetic


def everything(model: BaseDFKD) -> dict[str, Any]:
    """The whole state that a measurement could change."""
    return copy.deepcopy(
        dict(
            weights={
                **model.state_dict(),
                **{
                    f'teacher.{name}': value
                    for name, value in model.teacher.state_dict().items()
                }
            },
            modes={
                name: module.training
                for name, module in model.named_modules()
            },
            trainable={
                name: parameter.requires_grad
                for name, parameter in model.named_parameters()
            },
            gradients={
                name: parameter.grad
                for name, parameter in model.named_parameters()
                if parameter.grad is not None
            },
            training_state=model.training_state(),
            torch_stream=torch.get_rng_state(),
            numpy_stream=list(np.random.get_state()),
            python_stream=random.getstate()))


def assert_identical(found: Any, expected: Any, where: str = '') -> None:
    """Compare nested values bit for bit."""
    assert type(found) is type(expected), where
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key, value in expected.items():
            assert_identical(found[key], value, f'{where}.{key}')
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), where
        for i, value in enumerate(expected):
            assert_identical(found[i], value, f'{where}[{i}]')
    elif isinstance(expected, Tensor):
        assert torch.equal(found, expected), where
    elif isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(found, expected, where)
    else:
        assert found == expected, where


def say_many_classes(model: BaseDFKD) -> None:
    """Make images of high contrast, and the student equal to the teacher."""
    with torch.no_grad():
        model.generator.project.weight.mul_(30)
        model.generator.upsample[-1].weight.mul_(30)
    model.student.load_state_dict(model.teacher.network.state_dict())


def test_measuring_changes_nothing(tiny_model: BaseDFKD) -> None:
    # As in the middle of training, where modes may differ within a network.
    tiny_model.train()
    tiny_model.student.backbone.eval()
    tiny_model.generator.upsample[1].eval()
    next(tiny_model.student.parameters()).requires_grad_(False)
    source = tiny_model.candidates
    batch = source.augmented(source.fresh(4))
    batch.images_BCHW.sum().backward()
    source.queue.add(batch.detach())
    before = everything(tiny_model)
    assert before['gradients'] and before['training_state']['streams']

    measure_synthetic(tiny_model, 16)
    assert_identical(everything(tiny_model), before)


def test_measures_equal_those_computed_by_hand(tiny_model: BaseDFKD) -> None:
    say_many_classes(tiny_model)
    # The student never predicts class 1, and otherwise agrees.
    with torch.no_grad():
        tiny_model.student.head.fc.bias[1] -= 1000
    measured = measure_synthetic(tiny_model, 64)

    images_BCHW = tiny_model.synthesize(64)
    tiny_model.eval()
    with torch.no_grad():
        output = tiny_model.teacher(images_BCHW, with_bn=True)
        student_B = tiny_model.student_logits(images_BCHW).argmax(1).numpy()
    teacher_B = output.logits_BK.argmax(1).numpy()
    same = np.count_nonzero(student_B == teacher_B)
    assert 0 < same < 64, 'the example is trivial'
    assert measured.agreement == pytest.approx(100 * same / 64)
    assert measured.class_histogram == [
        np.count_nonzero(teacher_B == label) for label in range(10)
    ]
    assert measured.finite == 100
    confusion_KK = np.zeros((10, 10))
    np.add.at(confusion_KK, (teacher_B, student_B), 1)
    assert confusion_KK[tuple(np.transpose(
        measured.confusion)[:2])].tolist() == [
            count for *_, count in measured.confusion
        ]
    assert sum(count for *_, count in measured.confusion) == 64
    counts_2K = [
        np.bincount(answer_B, minlength=10)
        for answer_B in (student_B, teacher_B)
    ]
    by_chance = (counts_2K[0] @ counts_2K[1]) / 64**2
    assert measured.kappa == pytest.approx(
        (same / 64 - by_chance) / (1 - by_chance))
    shares = counts_2K[1][counts_2K[1] > 0] / 64
    assert measured.class_entropy == pytest.approx(
        -(shares * np.log(shares)).sum() / np.log(10))
    assert measured.image_diversity == pytest.approx(
        images_BCHW.numpy().std(0).mean(), rel=1e-4)
    features_BF = tiny_model.teacher(
        images_BCHW, with_features=True).features_BF.double().numpy()
    assert measured.feature_diversity == pytest.approx(
        features_BF.var(0).sum() / (features_BF**2).mean(0).sum(), rel=1e-4)
    distance = 0.0
    for layer in output.bn_statistics:
        for found_F, stored_F in ((layer.mean_F, layer.running_mean_F),
                                  (layer.variance_F,
                                   layer.running_variance_F)):
            distance += np.sqrt(((found_F - stored_F).numpy()**2).sum())
    assert measured.bn_distance == pytest.approx(distance, rel=1e-4)


@pytest.mark.parametrize('network', ['teacher.network', 'student'])
def test_logits_that_are_not_finite_are_counted(tiny_model: BaseDFKD,
                                                network: str) -> None:
    tiny_model.get_submodule(network).head.fc.bias.data[3] = torch.nan
    measured = measure_synthetic(tiny_model, 8)
    assert measured.finite == 0
    assert measured.class_histogram == [0] * 10
    assert measured.kappa is None and measured.class_entropy is None


def test_a_single_image_that_is_not_finite_is_left_out(
        tiny_model: BaseDFKD, monkeypatch: pytest.MonkeyPatch) -> None:
    images_BCHW = tiny_model.synthesize(8)
    images_BCHW[5, 0, 1, 1] = torch.inf
    monkeypatch.setattr(tiny_model, 'synthesize', lambda size: images_BCHW)
    measured = measure_synthetic(tiny_model, 8)
    assert measured.finite == 87.5
    assert sum(measured.class_histogram) == 7
    assert np.isfinite(measured.image_diversity)
    assert measured.bn_distance is None
