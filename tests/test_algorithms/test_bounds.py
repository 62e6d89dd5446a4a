"""What lies below and above all: noise, and real images."""
from pathlib import Path

import numpy as np
import pytest
import torch
from algorithm_helpers import (CONFIGS, assert_unchanged, continues_exactly,
                               kl_of, make_algorithm, optimisers, real_batch,
                               record_gradients, record_images,
                               runs_three_iterations, snapshot, surest)

from tadfkd.algorithms import VanillaKD
from tadfkd.apis import load_config
from tadfkd.datasets import Digits
from tadfkd.errors import UserError
from tadfkd.structures import SyntheticBatch, TeacherOutput

BOTH = ['RandomNoiseKD', 'VanillaKD']


@pytest.mark.parametrize('type', BOTH)
def test_the_student_minimises_the_divergence_at_temperature_4(
        type: str) -> None:
    model = make_algorithm(type).eval()
    images_BCHW, target_BK = torch.rand(6, 1, 8, 8), torch.randn(6, 5)
    losses = model.student_losses(images_BCHW, TeacherOutput(target_BK))
    # Sixteen times the divergence of the softened answers.
    expected = kl_of(model.student_logits(images_BCHW), target_BK, 4.0)
    assert expected > 0.1
    assert set(losses) == {'logits'}
    assert losses['logits'].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('type', BOTH)
def test_only_the_student_is_trained(type: str) -> None:
    model = make_algorithm(type, num_student_steps=2)
    wrappers = optimisers(model)
    assert [*wrappers.keys()] == ['student']
    assert [*model.generator.parameters()] == []
    steps = record_gradients(model, wrappers)
    before = snapshot(model.teacher)
    losses = model.train_step(real_batch(), wrappers)
    # One step a batch of real images.
    number = 2 if type == 'RandomNoiseKD' else 1
    assert [step.network for step in steps] == ['student'] * number
    assert all(set(step.gradients) == {'student'} for step in steps)
    assert set(losses) == {'student_logits', 'student_total'}
    assert model.counters.student_steps == number
    assert model.counters.generator_steps == 0
    assert_unchanged(model.teacher, before)
    batch = SyntheticBatch(torch.rand(6, 1, 8, 8))
    assert model.generator_losses(batch, batch) == {}


@pytest.mark.parametrize('type', BOTH)
def test_the_teacher_is_asked_without_a_graph(type: str) -> None:
    model = make_algorithm(type)
    targets = []
    student_losses = model.student_losses
    model.student_losses = lambda images_BCHW, target: (targets.append(
        target), student_losses(images_BCHW, target))[1]
    model.train_step(real_batch(), optimisers(model))
    assert len(targets) == 1
    assert not targets[0].logits_BK.requires_grad
    assert not any(parameter.requires_grad or parameter.grad is not None
                   for parameter in model.teacher.parameters())


def test_the_noise_is_uniform_and_new_in_each_step() -> None:
    model = make_algorithm('RandomNoiseKD', batch_size=200)
    with record_images(model) as calls:
        for _ in range(2):
            model.train_step(real_batch(), optimisers(model))
    shown = [images for name, images in calls if name == 'student']
    assert not shown[0].equal(shown[1])
    pixels = np.sort(torch.stack(shown).numpy().ravel())
    # Kolmogorov's distance from U(0, 1); 1.95 / sqrt(N) is passed by one of
    # a thousand samples.
    steps = np.arange(1, len(pixels) + 1) / len(pixels)
    assert np.abs(pixels - steps).max() < 1.95 / len(pixels)**0.5
    # Pixels of an image do not depend on each other.
    pixels_BN = shown[0].flatten(1).numpy()
    correlations = np.corrcoef(pixels_BN, rowvar=False) - np.eye(64)
    assert np.abs(correlations).max() < 5 / 200**0.5


def test_noise_is_selected_like_generated_images() -> None:
    model = make_algorithm(
        'RandomNoiseKD',
        selector=dict(type='TopFractionSelector', fraction=0.5))
    with record_images(model) as calls:
        model.train_step(None, optimisers(model))
    made = [images for name, images in calls if name == 'generator']
    [shown] = [images for name, images in calls if name == 'student']
    assert shown.equal(
        torch.cat([surest(model, images, 4) for images in made]))


def test_real_images_are_what_the_student_sees_and_the_teacher_answers(
) -> None:
    model = make_algorithm('VanillaKD')
    batch = real_batch()
    expected_BCHW = torch.stack(batch['inputs']).float() / 255
    with record_images(model) as calls:
        model.train_step(batch, optimisers(model))
    assert [name for name, _ in calls] == ['teacher', 'student']
    for _, images_BCHW in calls:
        torch.testing.assert_close(images_BCHW, expected_BCHW)
    assert model.counters.images_generated == 0


def test_its_docstring_says_that_real_data_are_read() -> None:
    text = ' '.join((VanillaKD.__doc__ or '').split())
    assert 'not data-free: the student sees real images' in text


def test_no_algorithm_but_this_one_reads_its_training_data_from_a_dataset(
) -> None:
    config = load_config(CONFIGS /
                         'vanillakd/resnet18w16_to_resnet18w8_digits.py')
    dataset = config.train_dataloader.dataset
    assert (dataset.type, dataset.split) == ('Digits', 'train')
    config = load_config(CONFIGS /
                         'randomnoisekd/resnet18w16_to_resnet18w8_digits.py')
    assert config.train_dataloader.dataset.type == 'StepDataset'


@pytest.mark.parametrize('type', BOTH)
def test_three_iterations_of_the_digits(
        type: str, tmp_path: Path, tiny_teacher_checkpoint: str,
        monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    get_item = Digits.__getitem__
    monkeypatch.setattr(
        Digits, '__getitem__', lambda self, index:
        (read.append(index), get_item(self, index))[1])
    model, _ = runs_three_iterations(type, tiny_teacher_checkpoint, tmp_path)
    if type == 'VanillaKD':
        # The first and the last are tried out before the run; then an epoch
        # of three batches, in which each training image comes once.
        assert sorted(read[2:]) == [*range(1198)]
        assert model.counters.student_steps == 3
    else:
        assert read == []
        assert model.counters.student_steps == 6
        assert model.counters.images_generated == 48


@pytest.mark.parametrize('type', BOTH)
def test_continuing_is_exact(type: str) -> None:
    continues_exactly(type, augment=dict(type='RandomCropFlip', padding=1))


def test_noise_has_no_generator_to_train() -> None:
    model = make_algorithm('RandomNoiseKD')
    assert model.trained_networks == ('student', )
    assert model.num_generator_steps == 0
    # Where there is a generator it has to be trained.
    with pytest.raises(UserError, match='num_generator_steps must be .* >= 1'):
        make_algorithm('DFAD', num_generator_steps=0)


def test_real_images_are_what_is_measured_of_the_reference() -> None:
    model = make_algorithm('VanillaKD')
    # Before there are any, noise.
    assert model.synthesize(5).shape == (5, 1, 8, 8)
    data = real_batch()
    model.train_step(data, optimisers(model))
    expected_BCHW = torch.stack(data['inputs']) / 255
    torch.testing.assert_close(model.synthesize(5), expected_BCHW[:5])
    assert len(model.synthesize(100)) == 8
