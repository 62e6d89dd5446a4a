"""DAFL: the class prior, and one joint step on the same images."""
import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from algorithm_helpers import (balance_of, continues_exactly, cross_entropy_of,
                               double, features_of, kl_of, make_algorithm,
                               optimisers, record_gradients, record_images,
                               runs_three_iterations, softmax_of, surest)

from tadfkd.structures import SyntheticBatch, TeacherOutput

CIFAR100 = dict(
    type='ClassPrior',
    one_hot=0.5,
    balance=20.0,
    activation=0.1,
    log_base='10')


@pytest.mark.parametrize('changes, weights', [
    (dict(), (0.05, 5.0, 0.01)),
    (dict(class_prior=CIFAR100), (0.5, 20.0, 0.1)),
])
def test_the_generator_minimises_the_papers_class_prior(
        changes: dict, weights: tuple[float, float, float]) -> None:
    model = make_algorithm('DAFL', **changes).eval()
    images_BCHW = torch.rand(6, 1, 8, 8)
    selected = SyntheticBatch(images_BCHW[:4])
    losses = model.generator_losses(SyntheticBatch(images_BCHW), selected)
    logits_BK = model.teacher(images_BCHW[:4]).logits_BK
    one_hot, balance, activation = weights
    expected = dict(
        one_hot=one_hot * cross_entropy_of(logits_BK).mean(),
        balance=balance * balance_of(logits_BK) / math.log(10),
        activation=-activation *
        np.abs(features_of(model, images_BCHW[:4])).mean())
    assert {
        name: value.item()
        for name, value in losses.items()
    } == pytest.approx(
        expected, rel=1e-4)
    assert all(abs(value) > 1e-5 for value in expected.values())


def test_the_student_minimises_the_divergence_from_the_teacher() -> None:
    model = make_algorithm('DAFL').eval()
    images_BCHW = torch.rand(6, 1, 8, 8)
    target = torch.randn(6, 5)
    losses = model.student_losses(images_BCHW, TeacherOutput(target))
    expected = kl_of(model.student_logits(images_BCHW), target)
    assert expected > 0.1
    assert losses['logits'].item() == pytest.approx(expected, rel=1e-5)
    assert set(losses) == {'logits'}


def test_both_networks_step_once_each_with_their_own_gradients() -> None:
    model = make_algorithm('DAFL')
    wrappers = optimisers(model)
    steps = record_gradients(model, wrappers)
    model.train_step(None, wrappers)
    assert [step.network for step in steps] == ['generator', 'student']
    for step in steps:
        assert set(step.gradients) == {step.network}
        assert step.gradients[step.network] > 0
    assert model.counters.generator_steps == 1
    assert model.counters.student_steps == 1


def test_the_teacher_is_asked_once_about_the_images_that_both_learn_from(
) -> None:
    model = make_algorithm('DAFL', num_generator_steps=3)
    with record_images(model) as calls:
        model.train_step(None, optimisers(model))
    # Three joint steps, each: make, ask, and show the very same images.
    assert [name
            for name, _ in calls] == ['generator', 'teacher', 'student'] * 3
    for i in range(0, 9, 3):
        made, asked, shown = (images for _, images in calls[i:i + 3])
        assert len(made) == 8
        assert made.equal(asked) and made.equal(shown)
    assert not calls[0][1].equal(calls[3][1])


def test_the_joint_step_takes_the_gradients_of_one_backward_pass() -> None:
    model = make_algorithm('DAFL')
    twin = copy.deepcopy(model)
    before = copy.deepcopy(model)
    model.train_step(None, optimisers(model, lr=1.0))

    # The paper's sum, from the twin's networks.
    latents_BZ = twin.sample_latents(
        8, twin.streams.get('latents', torch.device('cpu')))
    images_BCHW = twin.generator(latents_BZ)
    features: list[torch.Tensor] = []
    twin.teacher.network.head.fc.register_forward_pre_hook(
        lambda _, inputs: features.append(inputs[0]))
    log_BK = twin.teacher(images_BCHW).logits_BK.log_softmax(1)
    mean_K = log_BK.exp().mean(0)
    student_BK = twin.student_logits(images_BCHW.detach()).log_softmax(1)
    kept_BK = log_BK.detach()
    total = (-0.05 * log_BK.max(1).values.mean() + 5 *
             (mean_K * mean_K.log10()).sum() -
             0.01 * features[0].abs().mean() +
             (kept_BK.exp() * (kept_BK - student_BK)).sum(1).mean())
    total.backward()
    for network in ('generator', 'student'):
        old, new = getattr(before, network), getattr(model, network)
        for name, parameter in getattr(twin, network).named_parameters():
            change = old.get_parameter(name) - new.get_parameter(name)
            torch.testing.assert_close(
                change, parameter.grad, rtol=1e-3, atol=2e-5)


def test_the_student_has_no_say_in_what_is_generated() -> None:
    weights = []
    for student_std in (1.0, 30.0):
        torch.manual_seed(0)
        model = make_algorithm('DAFL')
        torch.nn.init.normal_(model.student.head.fc.weight, std=student_std)
        model.train_step(None, optimisers(model))
        weights.append(model.generator.project.weight)
    assert weights[0].equal(weights[1])


def test_both_losses_are_of_the_selected_images_alone() -> None:
    model = make_algorithm(
        'DAFL', selector=dict(type='TopFractionSelector', fraction=0.5))
    with record_images(model) as calls:
        losses = model.train_step(None, optimisers(model))
    images = dict(calls)
    # The selection is made in the one pass of the teacher.
    assert [name for name, _ in calls] == ['generator', 'teacher', 'student']
    kept_BCHW = surest(model, images['generator'], 4)
    assert images['student'].equal(kept_BCHW)
    logits_BK = model.teacher(kept_BCHW).logits_BK
    assert losses['generator_one_hot'].item() == pytest.approx(
        0.05 * cross_entropy_of(logits_BK).mean(), rel=1e-4)
    all_BK = model.teacher(images['generator']).logits_BK
    assert losses['generator_one_hot'].item() != pytest.approx(
        0.05 * cross_entropy_of(all_BK).mean(), rel=1e-2)
    assert model.counters.images_selected == 4


def test_images_that_are_wanted_of_a_class_are_judged_by_it() -> None:
    model = make_algorithm(
        'DAFL',
        generator=dict(
            type='ConditionalGenerator',
            num_classes=5,
            latent_size=6,
            image_size=8,
            image_channels=1,
            width=4)).eval()
    batch = SyntheticBatch(torch.rand(6, 1, 8, 8), torch.arange(6) % 5)
    p_BK = softmax_of(model.teacher(batch.images_BCHW).logits_BK)
    expected = -np.log(p_BK[np.arange(6), double(batch.labels_B).astype(int)])
    losses = model.generator_losses(batch, batch)
    assert losses['one_hot'].item() == pytest.approx(
        0.05 * expected.mean(), rel=1e-5)


def test_three_iterations_of_the_digits(tmp_path: Path,
                                        tiny_teacher_checkpoint: str) -> None:
    model, losses = runs_three_iterations('DAFL', tiny_teacher_checkpoint,
                                          tmp_path)
    # Two student steps on the images of each generator step.
    assert model.counters.generator_steps == 3
    assert model.counters.student_steps == 6
    assert model.counters.images_generated == 24
    assert set(losses[0]) == {
        f'generator_{name}'
        for name in ('one_hot', 'balance', 'activation', 'total')
    } | {'student_logits', 'student_total'}


def test_continuing_is_exact() -> None:
    continues_exactly('DAFL')
