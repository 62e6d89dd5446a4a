"""PRE-DFKD: what is replayed, and when the replay learns."""
import math
from typing import Any

import equations
import numpy as np
import pytest
import torch
from algorithm_helpers import (BUFFER, DIGITS, as_set, make_algorithm,
                               one_iteration, optimisers, tiny_teacher)
from tiny_networks import classifier
from torch import Tensor

from tadfkd.structures import SyntheticBatch

SHIFT = dict(type='RandomShift', max_pixels=1)


def record_replay(model: Any) -> dict[str, list[Tensor]]:
    """Filled with the images that are observed and recalled."""
    seen: dict[str, list[Tensor]] = dict(observed=[], recalled=[])
    observe, recall = model.replay.observe, model.replay.recall
    model.replay.observe = lambda images_BCHW: (seen['observed'].append(
        images_BCHW), observe(images_BCHW))[1]
    model.replay.recall = lambda *inputs: (seen['recalled'].append(
        recall(*inputs)), seen['recalled'][-1])[1]
    return seen


@pytest.mark.parametrize('type', ['PREDFKD', 'KAKR'])
def test_the_generator_minimises_the_papers_sum(type: str) -> None:
    model = make_algorithm(type, selector=dict(type='KeepEvery', n=2))
    seen = one_iteration(model)
    [call] = seen.of('student', training=False)
    selected_BCHW = seen.made[-1][::2]
    assert call.images_BCHW.equal(selected_BCHW)
    network = model.teacher.network
    divergence = equations.js(call.logits_BK,
                              equations.logits(network, selected_BCHW), 3)
    assert divergence > 1e-2
    expected = dict(
        adversarial=1 - divergence,
        **equations.class_prior(network, selected_BCHW, 1, 5, 0.1))
    for name, value in expected.items():
        assert seen.losses[f'generator_{name}'] == pytest.approx(
            value, rel=1e-3)
    assert seen.losses['generator_total'] == pytest.approx(
        sum(expected.values()), rel=1e-3)


@pytest.mark.parametrize('type', ['PREDFKD', 'KAKR'])
@pytest.mark.parametrize('silenced, moves', [('student', False),
                                             ('teacher.network', True)])
def test_the_divergence_reaches_the_images_through_the_student_alone(
        type: str, silenced: str, moves: bool) -> None:
    # The silenced network says the same of all images.
    model = make_algorithm(type)
    torch.nn.init.zeros_(model.get_submodule(silenced).head.fc.weight)
    images_BCHW = torch.rand(8, 1, 8, 8, requires_grad=True)
    losses = model.generator_losses(SyntheticBatch(images_BCHW))
    [gradient] = torch.autograd.grad(losses['adversarial'], images_BCHW)
    assert (gradient.norm() > 1e-4) == moves
    assert moves or gradient.norm() == 0


def test_the_student_learns_from_new_and_replayed_images() -> None:
    model = make_algorithm('PREDFKD', num_student_steps=3)
    seen_replay = record_replay(model)
    seen = one_iteration(model)
    calls = seen.of('student', training=True)
    for call, new_BCHW, recalled_BCHW in zip(
            calls, seen_replay['observed'], seen_replay['recalled'],
            strict=True):
        assert len(new_BCHW) == 8 and len(recalled_BCHW) == 4
        assert torch.equal(call.images_BCHW,
                           torch.cat((new_BCHW, recalled_BCHW)))
    teacher_BK = equations.logits(model.teacher.network, calls[-1].images_BCHW)
    assert seen.losses['student_logits'] == pytest.approx(
        np.abs(calls[-1].logits_BK - teacher_BK).mean(), rel=1e-4)
    first, second, _ = seen_replay['recalled']
    assert not torch.equal(first, second)


def test_the_replay_learns_in_the_first_student_steps_only() -> None:
    model = make_algorithm('PREDFKD', num_student_steps=4, num_replay_steps=2)
    wrappers = optimisers(model)
    for _ in range(2):
        seen = one_iteration(model, wrappers)
        assert seen.order == ['student', 'replay'] * 2 + ['student'] * 2 + [
            'generator'
        ]
        assert all([*step.gradients] == [step.network] for step in seen.steps)


def test_the_replay_minimises_the_papers_sum() -> None:
    model = make_algorithm('PREDFKD')
    autoencoder = model.replay.autoencoder
    with torch.no_grad():
        # Far from N(0, 1), or the divergence is next to nothing.
        autoencoder.encoder[-1].bias.uniform_(-2, 2)
    seen = one_iteration(
        model,
        also=('replay.autoencoder.encoder', 'replay.autoencoder.decoder'))
    [encoded] = seen.of('replay.autoencoder.encoder')
    made_BCHW = seen.of('replay.autoencoder.decoder')[-1].images_BCHW
    images_BCHW = seen.of('student', training=True)[0].images_BCHW[:4]
    network = model.teacher.network
    divergence = 0.0
    for row in encoded.images_BCHW.tolist():
        for mean, log_variance in zip(row[:6], row[6:]):
            divergence += (mean**2 + math.exp(log_variance) - 1 -
                           log_variance) / 2
    expected = dict(
        images=(equations.normalised(made_BCHW) -
                equations.normalised(images_BCHW)).abs().mean().item(),
        logits=np.abs(
            equations.logits(network, made_BCHW) -
            equations.logits(network, images_BCHW)).mean(),
        divergence=1e-5 * divergence / len(images_BCHW))
    for name, value in expected.items():
        assert seen.losses[f'replay_{name}'] == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize('type, leaf', [('PREDFKD', DIGITS),
                                        ('KAKR', f'{DIGITS}_generative')])
def test_the_replay_learns_half_of_the_new_images_and_what_it_recalls(
        type: str, leaf: str) -> None:
    model = make_algorithm(type, leaf, num_student_steps=2, num_replay_steps=2)
    seen_replay = record_replay(model)
    encoded = []
    wrappers = optimisers(model)
    for _ in range(2):
        seen = one_iteration(
            model, wrappers, also=('replay.autoencoder.encoder', ))
        encoded += [(call.latents_BZ + 1) / 2
                    for call in seen.of('replay.autoencoder.encoder')]
    new, recalled = seen_replay['observed'], seen_replay['recalled']
    # In the first iteration the replay has nothing to recall. Later it learns
    # from other images than the student.
    expected = [new[0][:4], new[1][:4]] + [
        torch.cat((new[step][:4], recalled[of]))
        for step, of in ((2, 3), (3, 5))
    ]
    assert len(recalled) == 6
    for found_BCHW, expected_BCHW in zip(encoded, expected, strict=True):
        torch.testing.assert_close(found_BCHW, expected_BCHW)


def test_replayed_images_are_judged_by_the_class_prior_without_activations(
) -> None:
    model = make_algorithm('PREDFKD')
    images_BCHW = torch.rand(8, 1, 8, 8)
    expected = equations.class_prior(model.teacher.network, images_BCHW, 1, 5,
                                     0.1)
    expected.pop('activation')
    judged = []
    model.replay.recall = lambda size, stream, judge: judged.append(
        judge(images_BCHW))
    assert model.recalled() is None
    assert judged[0].item() == pytest.approx(sum(expected.values()), rel=1e-3)


def test_the_decoder_makes_images_for_this_teacher() -> None:
    network = classifier(5) | dict(
        data_preprocessor=dict(mean=[77.7], std=[81.2]))
    decoder = dict(
        type='UpsamplingGenerator',
        latent_size=6,
        width=4,
        image_size=8,
        image_channels=1,
        head='tanh_batch_norm')
    autoencoder = dict(type='VariationalAutoencoder', width=4, decoder=decoder)
    model = make_algorithm(
        'PREDFKD',
        teacher=tiny_teacher(network),
        replay=dict(
            type='GenerativeReplay',
            autoencoder=autoencoder,
            divergence_weight=1e-5,
            latent_lr=0.02))
    head = model.replay.autoencoder.decoder.head
    assert head.mean_C11.item() == pytest.approx(77.7 / 255)
    assert head.std_C11.item() == pytest.approx(81.2 / 255)


def test_replayed_images_are_augmented_like_new_ones() -> None:
    model = make_algorithm('PREDFKD', augment=SHIFT)
    seen_replay = record_replay(model)
    [call] = one_iteration(model).of('student', training=True)
    [recalled_BCHW] = seen_replay['recalled']
    views_BCHW = call.images_BCHW[8:]
    assert not torch.equal(recalled_BCHW, views_BCHW)
    for recalled_CHW, view_CHW in zip(recalled_BCHW, views_BCHW):
        assert any(
            torch.equal(recalled_CHW.roll((down, right), (1, 2)), view_CHW)
            for down in (-1, 0, 1) for right in (-1, 0, 1))


def test_a_buffer_replays_images_of_long_ago() -> None:
    model = make_algorithm(
        'PREDFKD', replay=BUFFER | dict(interval=2), num_student_steps=5)
    seen_replay = record_replay(model)
    seen = one_iteration(model)
    assert seen.order == ['student'] * 5 + ['generator']
    new = seen_replay['observed']
    for step, recalled_BCHW in enumerate(seen_replay['recalled']):
        # Steps 0, 2 and 4 add images, and the last two of them are kept.
        added = [place for place in (0, 2, 4) if place <= step][-2:]
        assert as_set(recalled_BCHW) <= as_set(*(new[place][:4]
                                                 for place in added))
