"""ZSKT: ten student steps on the images of one generator step."""
from pathlib import Path

import numpy as np
import pytest
import torch
from algorithm_helpers import (continues_exactly, double, kl_of,
                               make_algorithm, optimisers, record_gradients,
                               record_images, runs_three_iterations, surest)
from torch import Tensor, nn

from tadfkd.structures import SyntheticBatch


def stage_outputs(network: nn.Module, images_BCHW: Tensor) -> list[np.ndarray]:
    """Of the stages whose maps have more than a pixel: 8, 4 and 2 a side."""
    maps: list[np.ndarray] = []
    handles = [
        getattr(network.backbone, f'layer{stage}').register_forward_hook(
            lambda _, inputs, output: maps.append(double(output)))
        for stage in (1, 2, 3)
    ]
    # What both networks normalise images to.
    network(4 * images_BCHW - 2, mode='tensor')
    for handle in handles:
        handle.remove()
    assert [map_.shape[-1] for map_ in maps] == [8, 4, 2]
    return maps


def attention(map_BCHW: np.ndarray) -> np.ndarray:
    """The mean of squares over channels, of length 1 over the positions."""
    rows = []
    for map_CHW in map_BCHW:
        energy = (map_CHW**2).mean(0).ravel()
        rows.append(energy / np.sqrt((energy**2).sum()))
    return np.stack(rows)


def test_the_student_minimises_divergence_and_attention_transfer() -> None:
    model = make_algorithm('ZSKT').eval()
    images_BCHW = torch.rand(6, 1, 8, 8)
    target = model.teacher(images_BCHW, **model.teacher_options()).detach()
    losses = model.student_losses(images_BCHW, target)
    logits = kl_of(model.student_logits(images_BCHW), target.logits_BK)
    assert logits > 0.1
    distances = [((attention(mine) - attention(other))**2).mean()
                 for mine, other in zip(
                     stage_outputs(model.student, images_BCHW),
                     stage_outputs(model.teacher.network, images_BCHW))]
    assert min(distances) > 1e-4
    assert {
        name: value.item()
        for name, value in losses.items()
    } == pytest.approx(
        dict(logits=logits, attention=250 * sum(distances)), rel=1e-4)


def test_the_generator_maximises_the_divergence() -> None:
    model = make_algorithm('ZSKT').eval()
    images_BCHW = torch.rand(6, 1, 8, 8)
    selected = SyntheticBatch(images_BCHW[:4])
    losses = model.generator_losses(SyntheticBatch(images_BCHW), selected)
    expected = kl_of(
        model.student_logits(images_BCHW[:4]),
        model.teacher(images_BCHW[:4]).logits_BK)
    assert expected > 0.1
    assert set(losses) == {'adversarial'}
    assert losses['adversarial'].item() == pytest.approx(-expected, rel=1e-5)
    # Of the student, and not of the teacher with itself.
    model.student.load_state_dict(model.teacher.network.state_dict())
    assert model.generator_losses(
        selected, selected)['adversarial'].item() == pytest.approx(
            0, abs=1e-5)


def test_the_teacher_is_asked_once_for_one_and_ten_steps_on_the_same_images(
) -> None:
    model = make_algorithm('ZSKT')
    assert model.num_student_steps == 10
    wrappers = optimisers(model)
    steps = record_gradients(model, wrappers)
    with record_images(model) as calls:
        model.train_step(None, wrappers)
    names = [name for name, _ in calls]
    assert names == ['generator', 'teacher'] + ['student'] * 11
    for _, images_BCHW in calls:
        assert images_BCHW.equal(calls[0][1])
    assert [step.network for step in steps] == ['generator'] + ['student'] * 10
    for step in steps:
        assert set(step.gradients) == {step.network}
        assert step.gradients[step.network] > 0


def test_the_teachers_answer_is_kept_without_its_graph() -> None:
    model = make_algorithm('ZSKT')
    targets = []
    student_losses = model.student_losses

    def spy(images_BCHW: Tensor, target: object) -> dict[str, Tensor]:
        targets.append(target)
        assert not images_BCHW.requires_grad
        return student_losses(images_BCHW, target)

    model.student_losses = spy
    model.train_step(None, optimisers(model))
    assert len(targets) == 10
    assert all(target is targets[0] for target in targets)
    assert not targets[0].logits_BK.requires_grad
    assert not any(map_.requires_grad for map_ in targets[0].maps)


def test_all_steps_are_on_the_selected_images() -> None:
    model = make_algorithm(
        'ZSKT',
        num_student_steps=2,
        selector=dict(type='TopFractionSelector', fraction=0.5))
    with record_images(model) as calls:
        model.train_step(None, optimisers(model))
    kept_BCHW = surest(model, calls[0][1], 4)
    shown = [images for name, images in calls if name == 'student']
    assert len(shown) == 3
    assert all(images.equal(kept_BCHW) for images in shown)


def test_networks_without_maps_in_common_leave_attention_out() -> None:
    model = make_algorithm(
        'ZSKT',
        attention_loss=dict(type='AttentionTransferLoss', loss_weight=0.0))
    losses = model.train_step(None, optimisers(model))
    assert set(losses) == {
        'generator_adversarial', 'generator_total', 'student_logits',
        'student_total'
    }


def test_three_iterations_of_the_digits(tmp_path: Path,
                                        tiny_teacher_checkpoint: str) -> None:
    model, losses = runs_three_iterations('ZSKT', tiny_teacher_checkpoint,
                                          tmp_path)
    assert model.counters.generator_steps == 3
    assert model.counters.student_steps == 6
    assert model.counters.images_generated == 24
    assert all(row['student_attention'] > 0 for row in losses)


def test_continuing_is_exact() -> None:
    continues_exactly('ZSKT', num_student_steps=2)
