"""SpaceshipNet: features that are exchanged, and maps that are compared."""
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import equations
import numpy as np
import pytest
import torch
from algorithm_helpers import (assert_unchanged, make_algorithm, one_iteration,
                               optimisers, snapshot)
from torch import Tensor

from tadfkd.algorithms.spaceship_net import exchanged, half_of
from tadfkd.errors import UserError


def generator_layers(generator: Any, values: Tensor,
                     start: int) -> list[Tensor]:
    """What the generator's layers make, one by one, from ``start`` on."""
    made = []
    for layer in [*generator.upsample][start:]:
        values = layer(values)
        made.append(values.detach())
    return made


@contextmanager
def watched_features(model: Any, steps: list[list[Tensor]]) -> Iterator[None]:
    """Add what the first, second and third activation of the generator make
    in each forward in training mode."""

    def keep(index: int, made: Tensor) -> None:
        if model.generator.training:
            if index == 0:
                steps.append([])
            steps[-1].append(made.detach().clone())

    handles = [
        model.generator.upsample[layer].register_forward_hook(
            lambda _, inputs, made, index=index: keep(index, made))
        for index, layer in enumerate((2, 6, 10))
    ]
    yield
    for handle in handles:
        handle.remove()


def record_decode(model: Any) -> list[tuple[Tensor, int]]:
    """Filled with the features and the layer that images are made from."""
    decoded: list[tuple[Tensor, int]] = []
    decode = model.generator.decode
    model.generator.decode = lambda features, start=0: (decoded.append(
        (features, start)), decode(features, start))[1]
    return decoded


def grad_cams(network: Any, images_BCHW: Tensor,
              classes_B: np.ndarray) -> list[np.ndarray]:
    """Of each stage of a ResNet, for one class per image, not rectified."""
    maps: list[Tensor] = []

    def keep(*call: Any) -> None:
        call[-1].retain_grad()
        maps.append(call[-1])

    handles = [
        getattr(network.backbone, f'layer{stage}').register_forward_hook(keep)
        for stage in (1, 2, 3, 4)
    ]
    logits_BK = network(
        equations.normalised(images_BCHW).requires_grad_(), mode='tensor')
    for handle in handles:
        handle.remove()
    logits_BK[range(len(classes_B)), classes_B].sum().backward()
    network.zero_grad()
    assert all(map_.grad is not None for map_ in maps)
    return [(map_.detach().double().numpy() * map_.grad.double().numpy().mean(
        (2, 3), keepdims=True)).sum(1) for map_ in maps]


def test_both_networks_minimise_the_papers_sums() -> None:
    model = make_algorithm('SpaceshipNet')
    # The class is the teacher's, whatever the student's is.
    model.student.head.fc.bias.data[3] += 9
    # Without a step, so that the student's maps can be computed again.
    seen = one_iteration(model, optimisers(model, lr=0.0))
    network, images_BCHW = model.teacher.network, seen.made[-1]
    generator = dict(
        one_hot=0.5 * equations.cross_entropy(
            equations.logits(network, images_BCHW), seen.labels()),
        bn=equations.bn_distance(network,
                                 equations.bn_statistics(network,
                                                         images_BCHW)))

    [call] = seen.of('student')
    images_BCHW, student_BK = call.images_BCHW, call.logits_BK
    teacher_BK = equations.logits(network, images_BCHW)
    # The last map of each resolution is a stage's output.
    classes_B = teacher_BK.argmax(1)
    assert (classes_B != student_BK.argmax(1)).any()
    student_cams, teacher_cams = (
        grad_cams(classifier, images_BCHW, classes_B)
        for classifier in (model.student, network))
    assert [cam_BHW.shape[-1] for cam_BHW in teacher_cams] == [16, 8, 4, 2]
    mine, others = (
        np.einsum('bchw,kc->bkhw',
                  equations.stage_outputs(classifier, images_BCHW, [4])[0],
                  classifier.head.fc.weight.detach().double().numpy())
        for classifier in (model.student, network))
    seen.assert_losses(
        generator=generator,
        student=dict(
            logits=equations.kl(student_BK, teacher_BK, 30) / 5,
            activation=((mine - others)**2).mean(),
            grad_cam=sum(((a - b)**2).mean()
                         for a, b in zip(student_cams, teacher_cams))))


def test_the_features_of_the_step_of_lowest_loss_are_kept() -> None:
    # So large a step that the loss jumps up and down.
    model = make_algorithm(
        'SpaceshipNet',
        bank_capacity=20,
        num_generator_steps=5,
        bn_loss=dict(type='BNStatisticsLoss', loss_weight=0.0))
    expected: list[list[Tensor]] = [[], [], []]
    wrappers, lowest = optimisers(model, lr=300.0), set()
    for _ in range(3):
        steps: list[list[Tensor]] = []
        with watched_features(model, steps):
            seen = one_iteration(model, wrappers)
        losses = [
            equations.cross_entropy(
                equations.logits(model.teacher.network, images_BCHW),
                seen.labels()) for images_BCHW in seen.made
        ]
        best = int(np.argmin(losses))
        lowest.add(best)
        for kept, features in zip(expected, steps[best], strict=True):
            kept.append(features)
    assert lowest - {4}
    for bank, kept in zip(model.banks, expected):
        torch.testing.assert_close(bank.rows(), torch.cat(kept)[-20:])


def test_latents_stay_as_drawn_and_each_synthesis_has_a_new_adam() -> None:
    model = make_algorithm('SpaceshipNet', num_generator_steps=3)
    wrappers = optimisers(model, optimizer='Adam')
    drawn = []
    for _ in range(2):
        seen = one_iteration(model, wrappers)
        drawn.append(seen.latents())
        assert seen.labels() == [0, 1, 2, 3, 4, 0, 1, 2]
        assert all(
            torch.equal(latents_BZ, drawn[-1][0]) for latents_BZ in drawn[-1])
        states = wrappers['generator'].optimizer.state.values()
        assert {int(state['step']) for state in states} == {3}
    assert not torch.equal(drawn[0][0], drawn[1][0])
    # The student goes on.
    states = wrappers['student'].optimizer.state.values()
    assert {int(state['step']) for state in states} == {2}


def record_samples(model: Any) -> list[Tensor]:
    """Filled with the features that are drawn from the banks."""
    drawn: list[Tensor] = []
    for bank in model.banks:
        sample = bank.sample
        bank.sample = lambda size, stream, sample=sample: (drawn.append(
            sample(size, stream)), drawn[-1])[1]
    return drawn


@pytest.mark.parametrize('probability', [0.0, 0.7, 1.0])
def test_a_whole_batch_is_exchanged_or_none_of_it(probability: float) -> None:
    model = make_algorithm('SpaceshipNet', exchange_probability=probability)
    model.train_step(None, optimisers(model, lr=0.0))
    drawn, decoded = record_samples(model), record_decode(model)
    for _ in range(150):
        model.decoded(8)
    starts = [start for _, start in decoded]
    assert min(starts.count(start) for start in (3, 7, 11)) > 30
    num_exchanged, from_partner = 0, []
    for (features, _), own in zip(decoded, drawn, strict=True):
        if torch.equal(features, own):
            continue
        num_exchanged += 1
        partner = own.flip(0)
        mine_BC, theirs_BC = ((features == of).all(-1).all(-1)
                              for of in (own, partner))
        assert (mine_BC | theirs_BC).all()
        for mine, theirs, a, b in zip(mine_BC, theirs_BC, own, partner):
            # An image that was drawn twice may be its own partner.
            if not torch.equal(a, b):
                assert (mine & ~theirs).sum() <= len(mine) // 2
                assert (theirs & ~mine).sum() <= len(mine) // 2
                from_partner.append(theirs.tolist())
    # Three standard errors.
    assert abs(num_exchanged / 150 - probability) < 0.12
    # The channels differ from sample to sample.
    assert probability == 0 or len({*map(tuple, from_partner)}) > 60


@pytest.mark.parametrize('size, channels', [(4, 16), (5, 7)])
def test_exactly_half_of_the_channels_stay(size: int, channels: int) -> None:
    stream = torch.Generator().manual_seed(3)
    features = torch.rand(size, channels, 2, 3)
    own_BC = half_of((size, channels), stream)
    assert own_BC.sum(1).tolist() == size * [channels // 2]
    assert not torch.equal(own_BC[0], own_BC[1])
    mixed = exchanged(features, own_BC)
    for sample in range(size):
        for channel in range(channels):
            # The middle one of an odd batch is its own partner.
            source = sample if own_BC[sample, channel] else size - 1 - sample
            assert torch.equal(mixed[sample, channel], features[source,
                                                                channel])


def test_the_student_sees_decoded_images_alone() -> None:
    model = make_algorithm('SpaceshipNet', num_student_steps=3)
    decoded = record_decode(model)
    seen = one_iteration(model, optimisers(model, lr=0.0))
    before = snapshot(model.generator)
    assert model.counters.images_generated == 8 + 3 * 8
    # The statistics are those that the generator has stored.
    model.generator.eval()
    for call, (features, start) in zip(
            seen.of('student'), decoded[-3:], strict=True):
        expected_BCHW = generator_layers(model.generator, features,
                                         start)[-1].sigmoid()
        torch.testing.assert_close(call.images_BCHW, expected_BCHW)
    assert_unchanged(model.generator, before)


def test_decoded_images_pass_the_selector() -> None:
    model = make_algorithm(
        'SpaceshipNet', selector=dict(type='KeepEvery', n=4))
    decoded = record_decode(model)
    [call] = one_iteration(model, optimisers(model, lr=0.0)).of('student')
    # Two of eight, for the pool and for the student.
    assert model.counters.images_selected == 2 + 2
    features, start = decoded[-1]
    model.generator.eval()
    torch.testing.assert_close(
        call.images_BCHW,
        generator_layers(model.generator, features, start)[-1].sigmoid()[::4])


def test_a_student_step_before_any_finite_image_is_a_user_error() -> None:
    model = make_algorithm('SpaceshipNet')
    next(model.generator.parameters()).data.fill_(torch.nan)
    with pytest.raises(UserError, match='no synthesis has made a finite'):
        model.train_step(None, optimisers(model))


def test_a_synthesis_smaller_than_the_classes_goes_on_with_them() -> None:
    model = make_algorithm('SpaceshipNet')
    labels = []
    for model.iterations in range(2):
        labels.append(model.synthesis_labels(3).tolist())
    assert labels == [[0, 1, 2], [3, 4, 0]]
    # Otherwise each synthesis begins with the first class, as released.
    assert model.synthesis_labels(6).tolist() == [0, 1, 2, 3, 4, 0]
