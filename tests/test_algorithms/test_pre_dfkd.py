"""PRE-DFKD: what is replayed, and when the replay learns."""
import math
from pathlib import Path
from typing import Any

import equations
import numpy as np
import pytest
import torch
from algorithm_helpers import (assert_unchanged, continues_exactly,
                               make_algorithm, optimisers, record_gradients,
                               runs_three_iterations, snapshot)
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.structures import SyntheticBatch, TeacherOutput

AUGMENT = dict(type='RandomShift', max_pixels=1)


def watch_batches(model: Any) -> dict[str, list[Tensor]]:
    """Filled with what student and replay learn from, and what is recalled
    and generated for it."""
    seen: dict[str, list[Tensor]] = dict(
        student=[], replay=[], recalled=[], new=[])
    update, replay, recall, clean = (model.student_update, model.replay_update,
                                     model.replay.recall, model.selected_batch)

    def selected_batch() -> Any:
        batch, logits_BK = clean()
        seen['new'].append(batch.views_BCHW)
        return batch, logits_BK

    model.student_update = lambda images_BCHW, *others: (seen[
        'student'].append(images_BCHW), update(images_BCHW, *others))[1]
    model.replay_update = lambda images_BCHW, *others: (seen['replay'].append(
        images_BCHW), replay(images_BCHW, *others))[1]
    model.replay.recall = lambda *inputs: (seen['recalled'].append(
        recall(*inputs)), seen['recalled'][-1])[1]
    model.selected_batch = selected_batch
    return seen


@pytest.mark.parametrize('type', ['PREDFKD', 'KAKR'])
def test_the_generator_minimises_the_papers_sum(type: str) -> None:
    model = make_algorithm(type).eval()
    images_BCHW = torch.rand(6, 1, 8, 8)
    candidates = SyntheticBatch(images_BCHW)
    selected = SyntheticBatch(images_BCHW[:4])
    losses = model.generator_losses(candidates, selected)

    network = model.teacher.network
    images_BCHW = images_BCHW[:4]
    teacher_BK = equations.logits(network, images_BCHW)
    [features_BF] = equations.layer_inputs(network, images_BCHW,
                                           [network.head.fc])
    mean_K = equations.softmax(teacher_BK).mean(0)
    divergence = equations.js(
        equations.logits(model.student, images_BCHW), teacher_BK, 3)
    assert divergence > 1e-2
    assert {
        name: value.item()
        for name, value in losses.items()
    } == pytest.approx(
        dict(
            one_hot=equations.cross_entropy(teacher_BK,
                                            teacher_BK.argmax(1).tolist()),
            balance=5 * sum(p * math.log10(p) for p in mean_K),
            activation=-0.1 * np.abs(features_BF).mean(),
            adversarial=1 - divergence),
        rel=1e-4)


def test_the_student_learns_from_new_and_replayed_images() -> None:
    model = make_algorithm('PREDFKD', num_student_steps=3)
    seen = watch_batches(model)
    losses_of = model.student_losses
    losses: list[tuple[float, float]] = []

    def watched(images_BCHW: Tensor, target: TeacherOutput) -> Any:
        got = losses_of(images_BCHW, target)
        with torch.no_grad():
            student_BK = model.student(
                equations.normalised(images_BCHW), mode='tensor').numpy()
        teacher_BK = equations.logits(model.teacher.network, images_BCHW)
        losses.append((got['logits'].item(),
                       float(np.abs(student_BK - teacher_BK).mean())))
        assert {*got} == {'logits'}
        return got

    model.student_losses = watched
    model.train_step(None, optimisers(model))
    assert len(seen['student']) == 3
    for images_BCHW, new_BCHW, recalled_BCHW in zip(seen['student'],
                                                    seen['new'],
                                                    seen['recalled']):
        # 8 and 4.
        assert images_BCHW.shape == (12, 1, 8, 8)
        assert torch.equal(images_BCHW, torch.cat((new_BCHW, recalled_BCHW)))
    for got, expected in losses:
        assert got == pytest.approx(expected, rel=1e-4)
    assert not torch.equal(seen['recalled'][0], seen['recalled'][1])


def test_the_replay_learns_in_the_first_student_steps_only() -> None:
    model = make_algorithm('PREDFKD', num_student_steps=4, num_replay_steps=2)
    assert model.trained_networks == ('student', 'generator', 'replay')
    wrappers = optimisers(model)
    steps = record_gradients(model, wrappers)
    seen = watch_batches(model)
    for _ in range(2):
        losses = model.train_step(None, wrappers)
    order = ['student', 'replay'] * 2 + ['student'] * 2 + ['generator']
    assert [step.network for step in steps] == order * 2
    for step in steps:
        assert [*step.gradients] == [step.network]
        assert step.gradients[step.network] > 0
    # On all images of the student's step.
    for replayed, place in zip(seen['replay'], (0, 1, 4, 5)):
        assert torch.equal(replayed, seen['student'][place])
    assert model.counters.student_steps == 8
    assert model.counters.generator_steps == 2
    assert {
        'replay_images', 'replay_logits', 'replay_divergence', 'replay_total'
    } < {*losses}


def test_the_replay_minimises_the_papers_sum() -> None:
    model = make_algorithm('PREDFKD').eval()
    images_BCHW = torch.rand(6, 1, 8, 8)
    autoencoder = model.replay.autoencoder
    encoded: list[Tensor] = []
    decoded: list[Tensor] = []
    autoencoder.encoder.register_forward_hook(
        lambda *inputs: encoded.append(inputs[-1].detach().double()))
    autoencoder.decoder.register_forward_hook(
        lambda *inputs: decoded.append(inputs[-1].detach()))
    with torch.no_grad():
        # Far from N(0, 1), or the divergence is next to nothing.
        autoencoder.encoder[-1].bias.uniform_(-2, 2)
    teacher_BK = equations.logits(model.teacher.network, images_BCHW)
    losses = model.replay(images_BCHW,
                          torch.from_numpy(teacher_BK).float(), model.teacher,
                          torch.Generator())
    made_BCHW = decoded[0]
    divergence = 0.0
    for row in encoded[0].tolist():
        for mean, log_variance in zip(row[:6], row[6:]):
            divergence += (mean**2 + math.exp(log_variance) - 1 -
                           log_variance) / 2
    assert {
        name: value.item()
        for name, value in losses.items()
    } == pytest.approx(
        dict(
            images=(made_BCHW - images_BCHW).abs().mean().item(),
            logits=np.abs(
                equations.logits(model.teacher.network, made_BCHW) -
                teacher_BK).mean(),
            divergence=1e-5 * divergence / 6),
        rel=1e-3)


def test_a_replay_step_trains_the_replay_alone() -> None:
    model = make_algorithm('PREDFKD', augment=AUGMENT)
    wrappers = optimisers(model)
    images_BCHW, target = model.student_batch()
    before = {
        name: snapshot(getattr(model, name))
        for name in ('teacher', 'student', 'generator')
    }
    replay = snapshot(model.replay)
    model.replay_update(images_BCHW, target, wrappers['replay'])
    for name, values in before.items():
        assert_unchanged(getattr(model, name), values)
        assert all(
            parameter.grad is None
            for parameter in getattr(model, name).parameters())
    for name in ('autoencoder.encoder.0.weight',
                 'autoencoder.decoder.project.weight'):
        assert not torch.equal(snapshot(model.replay)[name], replay[name])


def test_replayed_images_are_augmented_like_new_ones() -> None:
    model = make_algorithm('PREDFKD', augment=AUGMENT)
    seen = watch_batches(model)
    images_BCHW, target = model.student_batch()
    recalled_BCHW, views_BCHW = seen['recalled'][0], images_BCHW[8:]
    assert not torch.equal(recalled_BCHW, views_BCHW)
    for recalled_CHW, view_CHW in zip(recalled_BCHW, views_BCHW):
        assert any(
            torch.equal(recalled_CHW.roll((down, right), (1, 2)), view_CHW)
            for down in (-1, 0, 1) for right in (-1, 0, 1))
    torch.testing.assert_close(target.logits_BK,
                               model.teacher(images_BCHW).logits_BK)
    assert not target.logits_BK.requires_grad


def test_a_buffer_replays_images_of_long_ago() -> None:
    model = make_algorithm(
        'PREDFKD',
        replay=dict(
            type='BufferReplay', num_batches=2, batch_size=3, interval=2),
        num_student_steps=5)
    assert model.trained_networks == ('student', 'generator')
    seen = watch_batches(model)
    losses = model.train_step(None, optimisers(model))
    assert seen['replay'] == []
    assert not any(name.startswith('replay') for name in losses)
    for step in range(5):
        # Steps 0, 2 and 4 add one each, and two are kept.
        added = [place for place in (0, 2, 4) if place <= step][-2:]
        kept = {
            image.numpy().tobytes()
            for place in added
            for image in seen['new'][place][:3]
        }
        recalled = {
            image.numpy().tobytes()
            for image in seen['recalled'][step]
        }
        assert recalled <= kept
        assert torch.equal(
            seen['student'][step],
            torch.cat((seen['new'][step], seen['recalled'][step])))


def test_the_students_disagreement_alone_moves_the_generator() -> None:
    model = make_algorithm(
        'PREDFKD',
        class_prior=dict(
            type='ClassPrior', one_hot=0.0, balance=0.0, activation=0.0))
    wrappers = optimisers(model)
    steps = record_gradients(model, wrappers)
    before = snapshot(model.student)
    losses = model.generator_step(wrappers['generator'])
    assert {*losses} == {'adversarial', 'total'}
    assert [*steps[0].gradients] == ['generator']
    assert steps[0].gradients['generator'] > 1e-6
    assert_unchanged(model.student, before)


@pytest.mark.parametrize('field, value', [('replay_batch_size', 1),
                                          ('num_replay_steps', 0)])
def test_numbers_out_of_range_are_refused_by_name(field: str,
                                                  value: int) -> None:
    with pytest.raises(
            UserError, match=f'{field} must be .*set model.{field}'):
        make_algorithm('PREDFKD', **{field: value})


@pytest.mark.parametrize('changes', [
    dict(),
    dict(
        augment=AUGMENT,
        replay=dict(
            type='BufferReplay', num_batches=2, batch_size=3, interval=2)),
])
def test_the_replay_survives_an_interruption(changes: dict) -> None:
    continues_exactly('PREDFKD', num_steps=2, num_student_steps=2, **changes)


def test_three_iterations_of_the_digits_config(tiny_teacher_checkpoint: str,
                                               tmp_path: Path) -> None:
    _, losses = runs_three_iterations('PREDFKD', tiny_teacher_checkpoint,
                                      tmp_path)
    for row in losses:
        assert {*row} == {
            f'generator_{name}'
            for name in ('adversarial', 'one_hot', 'balance', 'activation',
                         'total')
        } | {
            f'replay_{name}'
            for name in ('images', 'logits', 'divergence', 'total')
        } | {'student_logits', 'student_total'}
