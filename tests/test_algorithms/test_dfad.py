"""DFAD: the generator widens the distance that the student narrows."""
from pathlib import Path

import pytest
import torch
from algorithm_helpers import (CONFIGS, continues_exactly, gradient_norm,
                               l1_of, make_algorithm, optimisers,
                               record_gradients, record_images,
                               runs_three_iterations, surest)

from tadfkd.apis import load_config
from tadfkd.structures import SyntheticBatch, TeacherOutput


def test_the_two_players_have_the_same_distance_with_opposite_signs() -> None:
    model = make_algorithm('DFAD').eval()
    images_BCHW = torch.rand(6, 1, 8, 8)
    selected_BCHW = images_BCHW[:4]
    logits_BK = model.teacher(selected_BCHW).logits_BK
    expected = l1_of(model.student_logits(selected_BCHW), logits_BK)
    assert expected > 0.1
    losses = model.generator_losses(
        SyntheticBatch(images_BCHW), SyntheticBatch(selected_BCHW))
    assert set(losses) == {'adversarial'}
    assert losses['adversarial'].item() == pytest.approx(-expected, rel=1e-5)
    losses = model.student_losses(selected_BCHW, TeacherOutput(logits_BK))
    assert set(losses) == {'logits'}
    assert losses['logits'].item() == pytest.approx(expected, rel=1e-5)


def test_the_distance_is_of_the_student_and_not_of_the_teacher_itself(
) -> None:
    model = make_algorithm('DFAD').eval()
    batch = SyntheticBatch(torch.rand(6, 1, 8, 8))
    model.student.load_state_dict(model.teacher.network.state_dict())
    assert model.generator_losses(batch, batch)['adversarial'].item() == \
        pytest.approx(0, abs=1e-5)
    with torch.no_grad():
        model.student.head.fc.bias += torch.tensor([1., 2., 3., 4., 5.])
    assert model.generator_losses(batch, batch)['adversarial'].item() == \
        pytest.approx(-3, rel=1e-4)


def test_the_distance_alone_moves_the_generator_through_both_networks(
) -> None:
    model = make_algorithm('DFAD')
    # Of each network alone, as the other says the same of all images.
    for silenced in (model.student.head.fc, model.teacher.network.head.fc):
        weight = silenced.weight.detach().clone()
        torch.nn.init.zeros_(silenced.weight)
        batch = SyntheticBatch(model.generator(torch.randn(8, 6)))
        model.generator_losses(batch, batch)['adversarial'].backward()
        assert gradient_norm(model.generator) > 0
        model.generator.zero_grad()
        silenced.weight.data.copy_(weight)


def test_five_student_steps_come_first_each_on_new_images() -> None:
    config = load_config(CONFIGS / 'dfad/resnet18w16_to_resnet18w8_digits.py')
    assert config.model.num_student_steps == 5
    model = make_algorithm('DFAD', num_student_steps=5)
    wrappers = optimisers(model)
    steps = record_gradients(model, wrappers)
    with record_images(model) as calls:
        model.train_step(None, wrappers)
    assert [step.network for step in steps] == ['student'] * 5 + ['generator']
    for step in steps:
        # Nothing is left over from, or spills over to, another network.
        assert set(step.gradients) == {step.network}
        assert step.gradients[step.network] > 0
    assert [name for name, _ in calls
            ] == ['generator', 'teacher', 'student'] * 5 + [
                'generator', 'student', 'teacher'
            ]
    made = [images for name, images in calls if name == 'generator']
    for i, images_BCHW in enumerate(made):
        assert not any(images_BCHW.equal(other) for other in made[:i])


def test_both_networks_learn_from_selected_images_alone() -> None:
    model = make_algorithm(
        'DFAD', selector=dict(type='TopFractionSelector', fraction=0.5))
    with record_images(model) as calls:
        model.train_step(None, optimisers(model))
    made = [images for name, images in calls if name == 'generator']
    shown = [images for name, images in calls if name == 'student']
    # A student step is refilled to a full batch, a generator step is not.
    assert len(made) == 3
    assert shown[0].equal(
        torch.cat([surest(model, images, 4) for images in made[:2]]))
    assert shown[1].equal(surest(model, made[2], 4))


def test_three_iterations_of_the_digits(tmp_path: Path,
                                        tiny_teacher_checkpoint: str) -> None:
    model, losses = runs_three_iterations('DFAD', tiny_teacher_checkpoint,
                                          tmp_path)
    assert model.counters.generator_steps == 3
    assert model.counters.student_steps == 6
    # Nine steps of eight images, each its own.
    assert model.counters.images_generated == 72
    for row in losses:
        assert row['generator_adversarial'] < 0 < row['student_logits']


def test_three_iterations_with_the_lenient_expert(
        tmp_path: Path, tiny_teacher_checkpoint: str) -> None:
    model, _ = runs_three_iterations(
        'DFAD',
        tiny_teacher_checkpoint,
        tmp_path,
        leaf='resnet18w16_to_resnet18w8_digits_ta')
    assert model.counters.images_selected < model.counters.images_generated


def test_continuing_is_exact() -> None:
    # Three of eight are kept, so that some are left over when it is saved.
    continues_exactly('DFAD', selector=dict(type='KeepEvery', n=3))
