"""NAYER: what is reinitialised, and when."""
from typing import Any

import equations
import numpy as np
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
