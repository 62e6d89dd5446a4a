"""NAYER: what begins anew, and when."""
from pathlib import Path
from typing import Any

import equations
import numpy as np
import pytest
import torch
from algorithm_helpers import (assert_unchanged, continues_exactly,
                               count_forwards, make_algorithm, optimisers,
                               record_gradients, runs_three_iterations,
                               snapshot)
from equations import agreeing
from torch import Tensor

from tadfkd.engine import PerNetworkConstructor
from tadfkd.errors import UserError
from tadfkd.networks.freezing import frozen
from tadfkd.structures import SyntheticBatch


def watch_beginnings(model: Any) -> list[tuple[dict[str, Tensor], int]]:
    """Filled with the generator and the length of the optimiser's state as
    each synthesis begins."""
    beginnings: list[tuple[dict[str, Tensor], int]] = []
    begin = model.begin_synthesis
    model.begin_synthesis = lambda wrapper: (
        begin(wrapper),
        beginnings.append(
            (snapshot(model.generator), len(wrapper.optimizer.state))))
    return beginnings


def test_the_generator_minimises_the_papers_sum() -> None:
    images_BCHW = torch.rand(8, 1, 8, 8)
    model = agreeing(make_algorithm('NAYER'), images_BCHW).eval()
    labels_B = torch.tensor([0, 1, 2, 3, 4, 4, 0, 1])
    batch = SyntheticBatch(images_BCHW, labels_B)
    network = model.teacher.network
    teacher_BK = equations.logits(network, images_BCHW)
    student_BK = equations.logits(model.student, images_BCHW)
    assert 0 < (teacher_BK.argmax(1) == student_BK.argmax(1)).sum() < 8
    expected = dict(
        one_hot=0.5 * equations.cross_entropy(teacher_BK, labels_B.tolist()),
        adversarial=-1.33 * equations.agreed_kl(student_BK, teacher_BK))
    statistics = equations.bn_statistics(network, images_BCHW)
    losses = model.generator_losses(batch, batch)
    assert {
        name: value.item()
        for name, value in losses.items()
    } == pytest.approx(
        expected
        | dict(bn=10 * equations.bn_distance(network, statistics)),
        rel=1e-3)

    # A synthesis later a tenth of the new batch counts.
    model.past_statistics.advance()
    images_BCHW = 0.5 * torch.rand(8, 1, 8, 8)
    batch = SyntheticBatch(images_BCHW, labels_B)
    averaged = [
        tuple(0.9 * old + 0.1 * new for old, new in zip(before, now))
        for before, now in zip(statistics,
                               equations.bn_statistics(network, images_BCHW))
    ]
    losses = model.generator_losses(batch, batch)
    assert losses['bn'].item() == pytest.approx(
        10 * equations.bn_distance(network, averaged), rel=1e-3)


def test_the_noisy_layer_is_new_in_each_synthesis() -> None:
    model = make_algorithm('NAYER', num_generator_steps=2)
    wrappers = PerNetworkConstructor({
        name:
        dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
        for name in model.trained_networks
    })(
        model)
    beginnings = watch_beginnings(model)
    ends = [snapshot(model.generator)]
    for _ in range(4):
        model.train_step(None, wrappers)
        ends.append(snapshot(model.generator))
    for (start, num_states), before in zip(beginnings, ends):
        assert num_states == 0
        changed = {
            name
            for name, value in start.items()
            if not torch.equal(value, before[name])
        }
        assert changed == {'noisy_GEZ'}
    noises = [start['noisy_GEZ'].flatten() for start, _ in beginnings]
    for index, noise in enumerate(noises):
        # 72 numbers from N(0, 1).
        assert abs(noise.mean()) < 0.4 and 0.75 < noise.std() < 1.25
        for other in noises[:index]:
            assert abs(np.corrcoef(noise, other)[0, 1]) < 0.4
    # It is trained within the synthesis, and so is all else.
    for (start, _), after in zip(beginnings, ends[1:]):
        for name, _ in model.generator.named_parameters():
            assert not torch.equal(start[name], after[name]), name


def test_the_whole_generator_is_new_every_so_many_iterations() -> None:
    model = make_algorithm('NAYER', reset_interval=3)
    wrappers = optimisers(model)
    beginnings = watch_beginnings(model)
    ends = [snapshot(model.generator)]
    for _ in range(7):
        model.train_step(None, wrappers)
        ends.append(snapshot(model.generator))
    renewed = []
    for iteration, ((start, _), before) in enumerate(zip(beginnings, ends)):
        if not torch.equal(start['project.weight'], before['project.weight']):
            renewed.append(iteration)
            for name in ('project.weight', 'upsample.4.weight',
                         'upsample.8.weight', 'upsample.11.weight'):
                a, b = (
                    values[name].flatten().numpy()
                    for values in (start, before))
                assert abs(np.corrcoef(a, b)[0, 1]) < 0.4
            assert start['norm.running_mean'].eq(0).all()
            assert start['upsample.1.weight'].eq(1).all()
        # The classes keep their vectors.
        assert torch.equal(start['embedding_KE'], ends[0]['embedding_KE'])
    assert renewed == [3, 6]


def test_a_synthesis_trains_the_generator_alone() -> None:
    model = make_algorithm('NAYER', num_generator_steps=3)
    wrappers = optimisers(model)
    steps = record_gradients(model, wrappers)
    ends: list[Tensor] = []
    model.end_synthesis = lambda made, latents_BZ: ends.append(latents_BZ)
    before = snapshot(model.student)
    with count_forwards(model) as sizes, frozen(model.student):
        model.synthesis(wrappers)
    assert [step.network for step in steps] == ['generator'] * 3
    assert all([*step.gradients] == ['generator'] for step in steps)
    assert_unchanged(model.student, before)
    # And once for the answers that the pool keeps.
    assert sizes == dict(
        teacher=[10] * 4, student=[10] * 3, generator=[10] * 3)
    # Latents are drawn, but neither read nor trained.
    stream = model.streams.fresh('latents', torch.device('cpu'))
    assert torch.equal(ends[0], model.sample_latents(10, stream))


def test_the_students_disagreement_alone_moves_the_generator() -> None:
    model = agreeing(
        make_algorithm(
            'NAYER',
            one_hot_loss=dict(type='OneHotLoss', loss_weight=0.0),
            bn_loss=dict(type='BNStatisticsLoss', loss_weight=0.0)))
    wrappers = optimisers(model)
    steps = record_gradients(model, wrappers)
    with frozen(model.student):
        losses = model.synthesis(wrappers)
    assert losses['adversarial'] < 0
    assert all(step.gradients['generator'] > 1e-6 for step in steps)


def test_the_student_stays_out_of_the_warm_up() -> None:
    model = make_algorithm('NAYER', warmup_iterations=2)
    wrappers = optimisers(model)
    names = [{*model.train_step(None, wrappers)} for _ in range(3)]
    assert names[0] == names[1] == {
        'generator_one_hot', 'generator_bn', 'generator_total'
    }
    assert names[2] == names[0] | {
        'generator_adversarial', 'student_logits', 'student_total'
    }


def test_held_out_images_are_of_noisy_layers_of_their_own() -> None:
    model = make_algorithm('NAYER')
    model.train_step(None, optimisers(model))
    before = snapshot(model)
    streams = model.training_state()['streams']
    images_BCHW = model.synthesize(20)
    assert torch.equal(model.synthesize(20), images_BCHW)
    assert not torch.equal(model.synthesize(20, 'other'), images_BCHW)
    assert_unchanged(model, before)
    after = model.training_state()['streams']
    assert streams.keys() == after.keys()
    assert all(torch.equal(streams[name], after[name]) for name in streams)
    # Not those of the layer that training left.
    stream = model.streams.fresh('held_out', model.device)
    labels_B = model.sample_labels(20, stream)
    with frozen(model.generator), torch.no_grad():
        trained_BCHW = model.generator(None, labels_B)
        model.generator.noisy_GEZ.copy_(model.generator.draw_noise(stream))
        expected_BCHW = model.generator(None, labels_B)
    assert not torch.allclose(trained_BCHW, images_BCHW, atol=1e-3)
    torch.testing.assert_close(images_BCHW, expected_BCHW)


def test_an_interval_of_nothing_is_refused_by_name() -> None:
    with pytest.raises(
            UserError, match='reset_interval must be .*model.reset_interval'):
        make_algorithm('NAYER', reset_interval=0)


@pytest.mark.parametrize('num_steps', [1, 2])
def test_a_run_that_is_interrupted_goes_on_exactly(num_steps: int) -> None:
    # In front of a new generator, and behind it.
    continues_exactly(
        'NAYER', num_steps=num_steps, reset_interval=2, warmup_iterations=1)


def test_three_iterations_of_the_digits_config(tiny_teacher_checkpoint: str,
                                               tmp_path: Path) -> None:
    model, losses = runs_three_iterations('NAYER', tiny_teacher_checkpoint,
                                          tmp_path)
    # Ten images a synthesis, and the newest 24 are kept.
    assert model.counters.images_generated == 30
    assert len(model.pool) == 24
    for row in losses:
        assert {*row} == {
            f'generator_{name}'
            for name in ('one_hot', 'bn', 'adversarial', 'total')
        } | {'student_logits', 'student_total'}
