"""NAYER: what is reinitialised, and when."""
from typing import Any

import equations
import numpy as np
import pytest
import torch
from algorithm_helpers import (assert_unchanged, make_algorithm, one_iteration,
                               optimisers, snapshot)

from tadfkd.networks.freezing import frozen


def test_both_networks_minimise_the_papers_sums() -> None:
    model = make_algorithm('NAYER', synthesis_batch_size=16)
    equations.agreeing(model)
    network, past = model.teacher.network, None
    wrappers = optimisers(model)
    for _ in range(2):
        seen = one_iteration(model, wrappers)
        images_BCHW = seen.made[-1]
        averaged: Any = equations.bn_statistics(network, images_BCHW)
        if past is not None:
            # A synthesis later a tenth of the new batch counts.
            averaged = [
                tuple(0.9 * old + 0.1 * new for old, new in zip(before, now))
                for before, now in zip(past, averaged)
            ]
        past = averaged
        teacher_BK = equations.logits(network, images_BCHW)
        call = seen.of('student', training=False)[-1]
        [student] = seen.of('student', training=True)
        seen.assert_losses(
            generator=dict(
                one_hot=0.5 *
                equations.cross_entropy(teacher_BK, seen.labels()),
                bn=10 * equations.bn_distance(network, averaged),
                adversarial=-1.33 *
                equations.agreed_kl(call.logits_BK, teacher_BK)),
            student=dict(
                logits=equations.kl(
                    student.logits_BK,
                    equations.logits(network, student.images_BCHW), 20)))
    assert seen.order == ['generator'] * 2 + ['student']


def test_noise_is_new_in_each_synthesis_and_all_else_after_an_interval(
) -> None:
    model = make_algorithm('NAYER', reset_interval=3)
    wrappers = optimisers(model, optimizer='Adam')
    beginnings: list[dict[str, torch.Tensor]] = []
    states: list[int] = []

    def look(*_: Any) -> None:
        beginnings.append(snapshot(model.generator))
        states.append(len(wrappers['generator'].optimizer.state))

    model.generator.register_forward_pre_hook(look)
    noises = []
    for iteration in range(5):
        before = snapshot(model.generator)
        beginnings.clear()
        states.clear()
        model.train_step(None, wrappers)
        begin = beginnings[0]
        changed = {
            name
            for name, value in begin.items() if not value.equal(before[name])
        }
        if iteration != 3:
            assert changed == {'noisy_GEZ'}
        else:
            for name in ('project.weight', 'upsample.4.weight'):
                a, b = (values[name].flatten() for values in (begin, before))
                assert abs(np.corrcoef(a, b)[0, 1]) < 0.4
            assert begin['upsample.1.weight'].eq(1).all()
        # The classes keep their vectors.
        assert begin['embedding_KE'].equal(before['embedding_KE'])
        assert states[0] == 0
        # All weights are trained within the synthesis.
        for name, value in model.generator.named_parameters():
            assert not value.equal(begin[name]), name
        noises.append(begin['noisy_GEZ'].flatten())
    for index, noise in enumerate(noises):
        # 72 numbers from N(0, 1).
        assert abs(noise.mean()) < 0.4 and 0.75 < noise.std() < 1.25
        for other in noises[:index]:
            assert abs(np.corrcoef(noise, other)[0, 1]) < 0.4


def test_held_out_images_have_noisy_layers_of_their_own() -> None:
    model = make_algorithm('NAYER')
    model.train_step(None, optimisers(model))
    before = snapshot(model)
    images_BCHW = model.synthesize(20)
    assert torch.equal(model.synthesize(20), images_BCHW)
    assert not torch.equal(model.synthesize(20, 'other'), images_BCHW)
    assert_unchanged(model, before)
    # Not those of the layer that training left.
    stream = model.streams.fresh('held_out', model.device)
    labels_B = torch.randint(5, (20, ), generator=stream)
    with frozen(model.generator), torch.no_grad():
        trained_BCHW = model.generator(None, labels_B)
        model.generator.noisy_GEZ.copy_(model.generator.draw_noise(stream))
        expected_BCHW = model.generator(None, labels_B)
    assert not torch.allclose(trained_BCHW, images_BCHW, atol=1e-3)
    torch.testing.assert_close(images_BCHW, expected_BCHW)


def test_an_iteration_has_ten_syntheses_in_the_warm_up_and_two_later() -> None:
    model = make_algorithm(
        'NAYER',
        warmup_iterations=2,
        reset_interval=3,
        num_warmup_syntheses=10,
        num_syntheses=2)
    wrappers = optimisers(model)
    noises: list[torch.Tensor] = []
    projections: list[torch.Tensor] = []

    def look(*_: Any) -> None:
        noises.append(model.generator.noisy_GEZ.detach().clone())
        projections.append(model.generator.project.weight.detach().clone())

    model.generator.register_forward_pre_hook(look)
    per_iteration = []
    for _ in range(4):
        noises.clear()
        model.train_step(None, wrappers)
        per_iteration.append(len(noises) // model.num_generator_steps)
    assert per_iteration == [10, 10, 2, 2]
    # Only the first synthesis of the fourth iteration has a new generator.
    firsts = projections[::model.num_generator_steps]
    correlations = [
        np.corrcoef(a.flatten(), b.flatten())[0, 1]
        for a, b in zip(firsts, firsts[1:])
    ]
    assert [c < 0.4 for c in correlations] == [False] * 21 + [True, False]


@pytest.mark.parametrize('size, classes, least, most', [
    (20, 10, 2, 2),
    (24, 10, 2, 6),
    (8, 10, 0, 8),
    (250, 100, 2, 52),
])
def test_labels_are_all_classes_in_turn_then_a_random_rest(
        size: int, classes: int, least: int, most: int) -> None:
    # entries nayer.labels of tmtuan1307/NAYER c6bedcd.
    model = make_algorithm('NAYER')
    model.num_classes = model.candidates.num_classes = classes
    labels_B = model.synthesis_labels(size)
    rounds = size // classes
    assert labels_B[:rounds * classes].tolist() == [*range(classes)] * rounds
    counts = labels_B.bincount(minlength=classes)
    assert len(labels_B) == size == counts.sum()
    assert least <= counts.min() and counts.max() <= most
    if size % classes:
        assert not model.synthesis_labels(size).equal(labels_B)
