"""DFQ: divergence, batch-norm statistics and the class prior."""
from pathlib import Path

import pytest
import torch
from algorithm_helpers import (balance_of, bn_distance_of, continues_exactly,
                               cross_entropy_of, gradient_norm, kl_of,
                               make_algorithm, optimisers, record_gradients,
                               record_images, runs_three_iterations, surest)

from tadfkd.structures import SyntheticBatch, TeacherOutput


def test_the_generator_minimises_the_papers_sum() -> None:
    model = make_algorithm('DFQ').eval()
    images_BCHW = torch.rand(6, 1, 8, 8)
    kept_BCHW = images_BCHW[:4]
    losses = model.generator_losses(
        SyntheticBatch(images_BCHW), SyntheticBatch(kept_BCHW))
    logits_BK = model.teacher(kept_BCHW).logits_BK
    expected = dict(
        adversarial=-kl_of(model.student_logits(kept_BCHW), logits_BK),
        bn=bn_distance_of(model, kept_BCHW),
        one_hot=cross_entropy_of(logits_BK).mean(),
        balance=20 * balance_of(logits_BK))
    assert all(abs(value) > 1e-3 for value in expected.values())
    assert {
        name: value.item()
        for name, value in losses.items()
    } == pytest.approx(
        expected, rel=1e-4)


def test_the_student_minimises_the_divergence_at_its_temperature() -> None:
    # Public code sets the temperature to 1 whatever its config says.
    for temperature, changes in ((1.0, {}), (
            4.0, dict(student_loss=dict(type='KLLoss', temperature=4.0)))):
        model = make_algorithm('DFQ', **changes).eval()
        images_BCHW, target_BK = torch.rand(6, 1, 8, 8), torch.randn(6, 5)
        losses = model.student_losses(images_BCHW, TeacherOutput(target_BK))
        expected = kl_of(
            model.student_logits(images_BCHW), target_BK, temperature)
        assert set(losses) == {'logits'}
        assert losses['logits'].item() == pytest.approx(expected, rel=1e-5)


def test_the_adversarial_term_has_a_temperature_of_its_own() -> None:
    model = make_algorithm(
        'DFQ', adversarial_loss=dict(type='KLLoss', temperature=3.0)).eval()
    batch = SyntheticBatch(torch.rand(6, 1, 8, 8))
    expected = kl_of(
        model.student_logits(batch.images_BCHW),
        model.teacher(batch.images_BCHW).logits_BK, 3.0)
    assert model.generator_losses(
        batch, batch)['adversarial'].item() == pytest.approx(
            -expected, rel=1e-5)


def test_a_wanted_class_takes_the_place_of_the_likeliest() -> None:
    model = make_algorithm(
        'DFQ',
        generator=dict(
            type='ConditionalGenerator',
            num_classes=5,
            latent_size=6,
            image_size=8,
            image_channels=1,
            width=4)).eval()
    batch = SyntheticBatch(torch.rand(6, 1, 8, 8), torch.arange(6) % 5)
    logits_BK = model.teacher(batch.images_BCHW).logits_BK
    wanted = cross_entropy_of(logits_BK, batch.labels_B).mean()
    assert wanted > 1.1 * cross_entropy_of(logits_BK).mean()
    assert model.generator_losses(batch,
                                  batch)['one_hot'].item() == pytest.approx(
                                      wanted, rel=1e-5)


def test_the_adversarial_term_alone_moves_the_generator() -> None:
    model = make_algorithm('DFQ')
    batch = SyntheticBatch(model.generator(torch.randn(8, 6)))
    model.generator_losses(batch, batch)['adversarial'].backward()
    assert gradient_norm(model.generator) > 0
    # Of student and teacher: there is none of the teacher with itself.
    model.eval().student.load_state_dict(model.teacher.network.state_dict())
    assert model.generator_losses(
        batch.detach(), batch.detach())['adversarial'].item() == pytest.approx(
            0, abs=1e-5)


def test_ten_steps_of_the_student_and_one_of_the_generator_train_their_own(
) -> None:
    model = make_algorithm('DFQ', num_student_steps=10)
    wrappers = optimisers(model)
    steps = record_gradients(model, wrappers)
    with record_images(model) as calls:
        model.train_step(None, wrappers)
    assert [step.network for step in steps] == ['student'] * 10 + ['generator']
    for step in steps:
        assert set(step.gradients) == {step.network}
        assert step.gradients[step.network] > 0
    assert [name for name, _ in calls].count('teacher') == 11


def test_both_losses_are_of_the_selected_images_alone() -> None:
    model = make_algorithm(
        'DFQ', selector=dict(type='TopFractionSelector', fraction=0.5))
    with record_images(model) as calls:
        losses = model.train_step(None, optimisers(model))
    made = [images for name, images in calls if name == 'generator']
    shown = [images for name, images in calls if name == 'student']
    assert shown[0].equal(
        torch.cat([surest(model, images, 4) for images in made[:2]]))
    kept_BCHW = surest(model, made[2], 4)
    assert shown[1].equal(kept_BCHW)
    assert losses['generator_bn'].item() == pytest.approx(
        bn_distance_of(model, kept_BCHW), rel=1e-4)
    assert losses['generator_balance'].item() == pytest.approx(
        20 * balance_of(model.teacher(kept_BCHW).logits_BK), rel=1e-4)


def test_three_iterations_of_the_digits(tmp_path: Path,
                                        tiny_teacher_checkpoint: str) -> None:
    model, losses = runs_three_iterations('DFQ', tiny_teacher_checkpoint,
                                          tmp_path)
    assert model.counters.generator_steps == 3
    assert model.counters.student_steps == 6
    assert all(row['generator_bn'] > 0 > row['generator_balance']
               for row in losses)


def test_continuing_is_exact() -> None:
    continues_exactly('DFQ', selector=dict(type='KeepEvery', n=3))
