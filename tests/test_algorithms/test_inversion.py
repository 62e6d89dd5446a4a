"""What all algorithms share that invert the teacher batch by batch."""
import copy
from typing import Any

import equations
import numpy as np
import pytest
import torch
from algorithm_helpers import as_set, make_algorithm, one_iteration, optimisers
from torch import nn

from tadfkd.errors import UserError

NO_BN = dict(type='BNStatisticsLoss', loss_weight=0.0)
SHIFT = dict(type='RandomShift', max_pixels=1)


def make_plain(**changes: Any) -> Any:
    """Syntheses that have nothing but what is shared."""
    return make_algorithm('SpaceshipNet', **changes)


def test_generator_and_latents_learn_as_in_a_plain_loop() -> None:
    model = make_plain(num_generator_steps=4, latent_lr=0.02, bn_loss=NO_BN)
    generator = copy.deepcopy(model.generator)
    seen = one_iteration(model, optimisers(model, lr=0.3))
    drawn_BZ, labels_B = seen.latents()[0], torch.tensor(seen.labels())
    assert drawn_BZ.shape == (8, 6)
    assert 0 <= labels_B.min() and labels_B.max() < 5

    latents_BZ = drawn_BZ.clone().requires_grad_()
    adam = torch.optim.Adam([latents_BZ], 0.02, betas=(0.5, 0.999))
    sgd = torch.optim.SGD(generator.parameters(), 0.3)
    images, losses = [], []
    for step in range(4):
        torch.testing.assert_close(
            seen.latents()[step], latents_BZ.detach(), atol=1e-3, rtol=0)
        images_BCHW = generator(latents_BZ)
        loss = 0.5 * nn.functional.cross_entropy(
            model.teacher.network(
                (255 * images_BCHW - 127.5) / 63.75, mode='tensor'), labels_B)
        adam.zero_grad()
        sgd.zero_grad()
        loss.backward()
        adam.step()
        sgd.step()
        images.append(images_BCHW.detach())
        losses.append(loss.item())
    assert (latents_BZ - drawn_BZ).abs().max() > 0.01
    for name, parameter in generator.named_parameters():
        torch.testing.assert_close(
            model.generator.get_parameter(name), parameter, atol=5e-3, rtol=0)
    torch.testing.assert_close(
        model.pool.rows(), images[int(np.argmin(losses))], atol=1e-3, rtol=0)


def test_the_images_of_the_lowest_loss_go_into_the_pool() -> None:
    # So large a step that the loss jumps up and down.
    model = make_plain(num_generator_steps=6, bn_loss=NO_BN)
    wrappers, lowest = optimisers(model, lr=300.0), set()
    for synthesis in range(3):
        seen = one_iteration(model, wrappers)
        labels_B = seen.labels()
        losses = [
            equations.cross_entropy(
                equations.logits(model.teacher.network, images_BCHW), labels_B)
            for images_BCHW in seen.made
        ]
        best = int(np.argmin(losses))
        lowest.add(best)
        assert torch.equal(model.pool.rows()[8 * synthesis:], seen.made[best])
    assert lowest - {5}


def test_latents_and_labels_are_new_in_each_synthesis() -> None:
    model = make_algorithm(
        'CMI',
        synthesis_batch_size=200,
        num_generator_steps=2,
        latent_lr=0.0,
        pool=dict(capacity=400))
    wrappers = optimisers(model)
    first, second = (one_iteration(model, wrappers) for _ in range(2))
    # Latents without a learning rate stay as they were drawn.
    assert torch.equal(*first.latents())
    assert not torch.equal(first.latents()[0], second.latents()[0])
    assert first.labels() != second.labels()
    counts_K = np.bincount(first.labels() + second.labels(), minlength=5)
    # 80 each, and three standard errors.
    assert abs(counts_K - 80).max() < 24


@pytest.mark.parametrize('type', ['ADI', 'CMI', 'FastDFKD', 'NAYER'])
def test_the_students_disagreement_alone_moves_the_images(type: str) -> None:
    off = dict(
        one_hot_loss=dict(type='OneHotLoss', loss_weight=0.0), bn_loss=NO_BN)
    if type == 'CMI':
        off['contrastive_loss'] = dict(type='InfoNCELoss', loss_weight=0.0)
    if type == 'ADI':
        off['image_losses'] = {}
    model = equations.agreeing(make_algorithm(type, **off))
    seen = one_iteration(model)
    assert seen.losses['generator_adversarial'] < 0
    for step in seen.steps:
        if step.network == 'generator':
            assert step.gradients['generator'] > 1e-7


def test_the_selector_decides_what_enters_the_pool() -> None:
    model = make_algorithm('CMI', selector=dict(type='KeepEvery', n=3))
    wrappers = optimisers(model)
    judged: list[tuple] = []
    judge = model.candidates.selector.judge
    model.candidates.selector.judge = lambda *inputs: (judged.append(inputs),
                                                       judge(*inputs))[1]
    for synthesis in range(2):
        seen = one_iteration(model, wrappers)
        made = [as_set(images_BCHW[::3]) for images_BCHW in seen.made]
        # The first, fourth and seventh of eight, of one of the steps.
        rows = model.pool.rows()[3 * synthesis:]
        assert len(rows) == 3 and as_set(rows) in made
        # The selector knows what class was wanted.
        assert judged[-1][2].tolist() == seen.labels()
        [call] = seen.of('student', training=True)
        assert as_set(call.images_BCHW) <= as_set(model.pool.rows())
    assert model.counters.images_generated == 16
    assert model.counters.images_selected == 6


def test_a_students_batch_is_of_augmented_images_of_the_pool() -> None:
    model = make_algorithm('CMI', augment=SHIFT, num_student_steps=4)
    seen = one_iteration(model)
    rows = model.pool.rows()
    shifted = as_set(*(rows.roll((down, right), (2, 3)) for down in (-1, 0, 1)
                       for right in (-1, 0, 1)))
    calls = seen.of('student', training=True)
    views = as_set(*(call.images_BCHW for call in calls))
    assert views <= shifted
    assert len(views - as_set(rows)) > 10
    # The teacher answers to the very view that the student sees.
    call = calls[-1]
    assert seen.losses['student_logits'] == pytest.approx(
        equations.kl(call.logits_BK,
                     equations.logits(model.teacher.network, call.images_BCHW),
                     20),
        rel=1e-3)


@pytest.mark.parametrize('memory_mapped', [False, True])
def test_each_model_has_a_pool_of_its_own(memory_mapped: bool) -> None:
    pool = dict(capacity=12, memory_mapped=memory_mapped)
    models = [make_plain(pool=pool) for _ in range(2)]
    kept = []
    for model in models:
        assert len(model.pool) == 0
        model.train_step(None, optimisers(model))
        kept.append(model.pool.rows().clone())
    for model, rows in zip(models, kept):
        assert len(rows) == 8 and torch.equal(model.pool.rows(), rows)
    assert not as_set(kept[0]) & as_set(kept[1])


@pytest.mark.parametrize('changes, message', [
    (dict(synthesis_batch_size=1), 'set model.synthesis_batch_size'),
    (dict(latent_lr=-1.0), 'set model.latent_lr'),
    (dict(warmup_iterations=-1), 'set model.warmup_iterations'),
    (dict(pool=dict(capacity=0)), 'model.pool'),
    (dict(pool=dict(folder='images')), 'folder'),
])
def test_wrong_values_are_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_plain(**changes)


def test_a_pool_without_a_finite_image_is_a_user_error() -> None:
    model = make_algorithm('FastDFKD')
    next(model.generator.parameters()).data.fill_(torch.nan)
    with pytest.raises(UserError, match='no synthesis has made a finite'):
        model.train_step(None, optimisers(model))
