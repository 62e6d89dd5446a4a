"""What all algorithms share that invert the teacher batch by batch."""
import copy
from pathlib import Path
from typing import Any

import equations
import numpy as np
import pytest
import torch
from algorithm_helpers import (CONFIGS, assert_unchanged, continues_exactly,
                               count_forwards, make_algorithm, optimisers,
                               record_gradients, snapshot)
from equations import agreeing
from torch import Tensor, nn

from tadfkd.algorithms.inversion import InversionDFKD
from tadfkd.apis import load_config, train
from tadfkd.errors import UserError
from tadfkd.networks.freezing import frozen
from tadfkd.registry import MODELS
from tadfkd.structures import SyntheticBatch

ALL = ('ADI', 'CMI', 'DeepInversion', 'FastDFKD', 'NAYER', 'SpaceshipNet')
POOL = dict(pool=dict(capacity=24), num_generator_steps=2)
SHIFT = dict(type='RandomShift', max_pixels=1)


@MODELS.register_module()
class PlainInversion(InversionDFKD):
    """Nothing but what is shared."""


def make_plain(**changes: Any) -> Any:
    return make_algorithm('PlainInversion', **POOL | changes)


def as_set(images_BCHW: Tensor) -> set[bytes]:
    """To look images up bit for bit."""
    return {image.numpy().tobytes() for image in images_BCHW}


def test_a_synthesis_minimises_the_sum_of_its_equation() -> None:
    images_BCHW, views_BCHW = torch.rand(2, 8, 1, 8, 8)
    model = make_plain(
        one_hot_loss=dict(type='OneHotLoss', loss_weight=0.7),
        bn_loss=dict(type='BNStatisticsLoss', loss_weight=3.0),
        adversarial_loss=dict(type='KLLoss', loss_weight=2.0)).eval()
    labels_B = torch.tensor([0, 1, 2, 3, 4, 4, 0, 1])
    batch = SyntheticBatch(images_BCHW, labels_B, views_BCHW)
    losses = model.generator_losses(batch, batch)
    network = model.teacher.network
    teacher_BK = equations.logits(network, views_BCHW)
    assert {
        name: value.item()
        for name, value in losses.items()
    } == pytest.approx(
        dict(
            one_hot=0.7 *
            equations.cross_entropy(teacher_BK, labels_B.tolist()),
            bn=3 * equations.bn_distance(
                network, equations.bn_statistics(network, views_BCHW)),
            adversarial=-2 * equations.kl(
                equations.logits(model.student, views_BCHW), teacher_BK)),
        rel=1e-3)


def test_generator_and_latents_learn_as_in_a_plain_loop() -> None:
    model = make_plain(
        num_generator_steps=4,
        latent_lr=0.02,
        bn_loss=dict(type='BNStatisticsLoss', loss_weight=0.0))
    generator = copy.deepcopy(model.generator)
    wrappers = optimisers(model, lr=0.3)
    drawn: list[Tensor] = []
    ends: list[Tensor] = []
    invert = model.invert
    model.invert = lambda latents_BZ, labels_B, *others: (drawn.extend(
        (latents_BZ.detach().clone(), labels_B
         )), invert(latents_BZ, labels_B, *others))[1]
    model.end_synthesis = lambda made, latents_BZ: ends.append(latents_BZ)
    model.synthesis(wrappers)

    latents_BZ, labels_B = drawn[0].clone().requires_grad_(), drawn[1]
    assert latents_BZ.shape == (8, 6) and labels_B.shape == (8, )
    assert 0 <= labels_B.min() and labels_B.max() < 5
    adam = torch.optim.Adam([latents_BZ], 0.02, betas=(0.5, 0.999))
    sgd = torch.optim.SGD(generator.parameters(), 0.3)
    images, losses = [], []
    for _ in range(4):
        images_BCHW = generator(latents_BZ)
        loss = nn.functional.cross_entropy(
            model.teacher.network(
                (255 * images_BCHW - 127.5) / 63.75, mode='tensor'), labels_B)
        adam.zero_grad()
        sgd.zero_grad()
        loss.backward()
        adam.step()
        sgd.step()
        images.append(images_BCHW.detach())
        losses.append(loss.item())
    torch.testing.assert_close(ends[0], latents_BZ.detach(), atol=1e-3, rtol=0)
    assert (ends[0] - drawn[0]).abs().max() > 0.01
    for name, parameter in generator.named_parameters():
        torch.testing.assert_close(
            model.generator.get_parameter(name), parameter, atol=1e-3, rtol=0)
    torch.testing.assert_close(
        model.pool.rows(), images[int(np.argmin(losses))], atol=1e-3, rtol=0)


def test_latents_without_a_rate_stay_as_they_were_drawn() -> None:
    model = make_plain(latent_lr=0.0)
    ends: list[Tensor] = []
    model.end_synthesis = lambda made, latents_BZ: ends.append(latents_BZ)
    for _ in range(2):
        model.synthesis(optimisers(model))
    stream = model.streams.fresh('latents', torch.device('cpu'))
    for latents_BZ in ends:
        assert torch.equal(latents_BZ, model.sample_latents(8, stream))
    assert not torch.equal(*ends)


def test_the_labels_of_syntheses_are_uniform_over_the_classes() -> None:
    model = make_plain(
        synthesis_batch_size=200,
        num_generator_steps=1,
        pool=dict(capacity=400))
    made: list[Tensor] = []
    model.end_synthesis = lambda batch, latents_BZ: made.append(batch.labels_B)
    for _ in range(2):
        model.synthesis(optimisers(model))
    assert not torch.equal(*made)
    counts_K = torch.cat(made).bincount(minlength=5)
    # 80 each, and three standard errors.
    assert (counts_K - 80).abs().max() < 24


@pytest.mark.parametrize('type', ALL)
def test_a_synthesis_leaves_student_and_teacher_as_they_are(type: str) -> None:
    model = make_algorithm(type)
    wrappers = optimisers(model)
    steps = record_gradients(model, wrappers)
    before = {
        name: snapshot(getattr(model, name))
        for name in ('student', 'teacher')
    }
    synthesis = model.synthesis

    def watched(wrapper: Any) -> Any:
        losses = synthesis(wrapper)
        # Its batch-norm statistics included.
        assert_unchanged(model.student, before['student'])
        assert all(parameter.grad is None
                   for parameter in model.student.parameters())
        return losses

    model.synthesis = watched
    model.train_step(None, wrappers)
    assert_unchanged(model.teacher, before['teacher'])
    for step in steps:
        if step.network != 'student':
            assert 'student' not in step.gradients
        assert 'teacher' not in step.gradients
    assert model.student.training
    assert all(parameter.requires_grad
               for parameter in model.student.parameters())


def test_an_iteration_is_one_synthesis_and_then_the_students_steps() -> None:
    model = make_plain(num_generator_steps=3, num_student_steps=4)
    wrappers = optimisers(model)
    steps = record_gradients(model, wrappers)
    losses = model.train_step(None, wrappers)
    assert [step.network
            for step in steps] == ['generator'] * 3 + ['student'] * 4
    for step in steps:
        assert [*step.gradients] == [step.network]
        assert step.gradients[step.network] > 0
    counters = model.counters
    assert (counters.student_steps, counters.generator_steps) == (4, 3)
    assert (counters.images_generated, counters.images_selected) == (8, 8)
    assert {*losses} == {
        'generator_one_hot', 'generator_bn', 'generator_total',
        'student_logits', 'student_total'
    }
    assert not any(value.requires_grad for value in losses.values())
    assert losses['generator_total'].item() == pytest.approx(
        losses['generator_one_hot'].item() + losses['generator_bn'].item())


@pytest.mark.parametrize('type', ['ADI', 'CMI', 'FastDFKD', 'NAYER'])
def test_a_student_unlike_its_teacher_moves_the_images(type: str) -> None:
    # Both networks at one make the term and its gradient nothing, which is
    # what a student in the teacher's place would do.
    norms = []
    for unlike in (True, False):
        torch.manual_seed(0)
        model = agreeing(make_algorithm(type)).eval()
        if not unlike:
            model.student.load_state_dict(model.teacher.network.state_dict())
        images_BCHW = torch.rand(8, 1, 8, 8, requires_grad=True)
        batch = SyntheticBatch(images_BCHW, torch.zeros(8).long())
        with frozen(model.student):
            loss = model.generator_losses(batch, batch)['adversarial']
        [gradient] = torch.autograd.grad(loss, [images_BCHW])
        norms.append((loss.item(), gradient.norm().item()))
    (loss, norm), (nothing, no_norm) = norms
    assert loss < -1e-4 and norm > 1e-5
    assert abs(nothing) < 1e-5 and no_norm < 0.01 * norm


def test_the_selector_decides_what_enters_the_pool() -> None:
    model = make_plain(selector=dict(type='KeepEvery', n=3))
    made: list[SyntheticBatch] = []
    model.end_synthesis = lambda batch, latents_BZ: made.append(batch)
    wrappers = optimisers(model)
    for _ in range(2):
        model.synthesis(wrappers)
    # The first, fourth and seventh of eight.
    expected = torch.cat([batch.images_BCHW[::3] for batch in made])
    assert len(expected) == 6
    assert torch.equal(model.pool.rows(), expected)
    assert model.counters.images_generated == 16
    assert model.counters.images_selected == 6
    images_BCHW, _ = model.student_batch()
    assert as_set(images_BCHW) <= as_set(expected)


def test_the_selector_judges_what_was_made_and_knows_its_labels() -> None:
    model = make_plain(selector=dict(type='KeepEvery', n=1))
    judged: list[tuple] = []
    judge = model.selector.judge
    model.selector.judge = lambda logits_BK, finite_B, labels_B: (
        judged.append(
            (logits_BK, labels_B)), judge(logits_BK, finite_B, labels_B))[1]
    made: list[SyntheticBatch] = []
    model.end_synthesis = lambda batch, latents_BZ: made.append(batch)
    model.synthesis(optimisers(model))
    [(logits_BK, labels_B)] = judged
    assert torch.equal(labels_B, made[0].labels_B)
    np.testing.assert_allclose(
        logits_BK,
        equations.logits(model.teacher.network, made[0].images_BCHW),
        rtol=1e-3,
        atol=1e-4)


def test_the_student_stays_out_of_the_warm_up() -> None:
    model = make_plain(
        warmup_iterations=2, adversarial_loss=dict(type='KLLoss'))
    wrappers = optimisers(model)
    before = snapshot(model.student)
    for iteration in range(2):
        assert model.warming_up
        with count_forwards(model) as sizes:
            losses = model.train_step(None, wrappers)
        assert sizes['student'] == []
        assert {*losses
                } == {'generator_one_hot', 'generator_bn', 'generator_total'}
        assert len(model.pool) == 8 * (iteration + 1)
    assert_unchanged(model.student, before)
    assert model.counters.student_steps == 0
    assert not model.warming_up
    losses = model.train_step(None, wrappers)
    assert {'generator_adversarial', 'student_logits'} < {*losses}
    assert model.counters.student_steps == 1
    with pytest.raises(AssertionError):
        assert_unchanged(model.student, before)


def test_a_students_batch_is_of_augmented_images_of_the_pool() -> None:
    model = make_plain(augment=SHIFT)
    for _ in range(2):
        model.synthesis(optimisers(model))
    shifted = as_set(
        torch.cat([
            model.pool.rows().roll((down, right), (2, 3))
            for down in (-1, 0, 1) for right in (-1, 0, 1)
        ]))
    plain, views = as_set(model.pool.rows()), set()
    for _ in range(4):
        images_BCHW, target = model.student_batch()
        assert images_BCHW.shape == (8, 1, 8, 8)
        assert as_set(images_BCHW) <= shifted
        views |= as_set(images_BCHW)
        assert not images_BCHW.requires_grad
        assert not target.logits_BK.requires_grad
        # Of the very view that the student sees.
        np.testing.assert_allclose(
            target.logits_BK,
            equations.logits(model.teacher.network, images_BCHW),
            rtol=1e-3,
            atol=1e-4)
    assert len(views - plain) > 10


# SpaceshipNet's student reads maps too.
@pytest.mark.parametrize(
    'type, changes, asked', [(type, dict(), 0)
                             for type in ALL if type != 'SpaceshipNet'] +
    [('SpaceshipNet', dict(), 3), ('CMI', dict(augment=SHIFT), 3),
     ('CMI', dict(pool=dict(capacity=24, dtype='uint8')), 0)])
def test_the_teacher_answers_once_to_images_that_stay_the_same(
        type: str, changes: dict[str, Any], asked: int,
        monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_algorithm(type, **changes)
    for _ in range(2):
        model.synthesis(optimisers(model))
    calls: list[int] = []
    ask = model.teacher.ask
    monkeypatch.setattr(
        model.teacher, 'ask', lambda network, images_BCHW:
        (calls.append(len(images_BCHW)), ask(network, images_BCHW))[1])
    batches = [model.student_batch() for _ in range(3)]
    assert len(calls) == asked
    for images_BCHW, target in batches:
        torch.testing.assert_close(
            target.logits_BK,
            model.teacher(images_BCHW).logits_BK,
            rtol=1e-4,
            atol=1e-5)


@pytest.mark.parametrize('saved, resumed', [(None, None), (None, SHIFT),
                                            (SHIFT, None)])
def test_the_answers_are_there_after_a_restart(saved: dict | None,
                                               resumed: dict | None) -> None:
    model = make_plain(augment=saved)
    for _ in range(4):
        # More than the pool holds.
        model.synthesis(optimisers(model))
    other = make_plain(augment=resumed)
    other.teacher.load_state_dict(model.teacher.state_dict())
    other.load_training_state(model.training_state())
    for _ in range(2):
        images_BCHW, target = other.student_batch()
        torch.testing.assert_close(
            target.logits_BK,
            other.teacher(images_BCHW).logits_BK,
            rtol=1e-4,
            atol=1e-5)
        other.synthesis(optimisers(other))


@pytest.mark.parametrize('type', ALL)
@pytest.mark.parametrize('configured', [None, 7.0])
def test_the_students_temperature_is_the_configured_one(
        type: str, configured: float | None) -> None:
    changes = {} if configured is None else dict(
        student_loss=dict(type='KLLoss', temperature=configured))
    model = make_algorithm(type, **changes)
    temperature = configured or (30.0 if type == 'SpaceshipNet' else 20.0)
    model.train_step(None, optimisers(model))
    expected: list[float] = []
    update = model.student_update

    def watched(images_BCHW: Tensor, target: Any, wrapper: Any) -> Any:
        student = copy.deepcopy(model.student)
        expected.append(
            equations.kl(
                equations.logits(student, images_BCHW),
                equations.logits(model.teacher.network, images_BCHW),
                temperature))
        return update(images_BCHW, target, wrapper)

    model.student_update = watched
    losses = model.train_step(None, optimisers(model))
    assert expected[0] > 0.01
    assert losses['student_logits'].item() == pytest.approx(
        expected[0], rel=1e-2)


def test_a_run_neither_reads_nor_writes_the_pool_of_another(
        tmp_path: Path, tiny_options: dict[str, Any]) -> None:
    # One after the other in one process, below one folder.
    pools, added = [], []
    for name, seed in (('first', 0), ('second', 1)):
        config = load_config(
            CONFIGS / 'fastdfkd' / 'resnet18w16_to_resnet18w8_digits.py',
            tiny_options
            | {
                'model.num_generator_steps': 1,
                'model.num_student_steps': 1,
                'model.pool.capacity': 40,
                'model.pool.memory_mapped': True,
                'train_cfg.max_epochs': 1,
                'randomness.seed': seed
            },
            work_dir=str(tmp_path / name),
            evaluate=False)
        pools.append(train(config).pool)
        added.append(pools[-1].rows().clone())
        # Two iterations of eight images, and no others.
        assert len(pools[-1]) == 16
    assert not as_set(added[0]) & as_set(added[1])
    assert torch.equal(pools[0].rows(), added[0])


@pytest.mark.parametrize('memory_mapped', [False, True])
def test_each_model_has_a_pool_of_its_own(memory_mapped: bool) -> None:
    pool = dict(capacity=12, memory_mapped=memory_mapped)
    models = [make_plain(pool=pool) for _ in range(2)]
    kept = []
    for model in models:
        assert len(model.pool) == 0
        model.synthesis(optimisers(model))
        kept.append(model.pool.rows().clone())
        assert len(kept[-1]) == 8
    for model, rows in zip(models, kept):
        assert torch.equal(model.pool.rows(), rows)
    assert not as_set(kept[0]) & as_set(kept[1])


def test_a_pool_of_bytes_rounds_to_the_values_of_an_image_file() -> None:
    model = make_plain(pool=dict(capacity=24, dtype='uint8'))
    made: list[SyntheticBatch] = []
    model.end_synthesis = lambda batch, latents_BZ: made.append(batch)
    model.synthesis(optimisers(model))
    expected = np.round(made[0].images_BCHW.numpy() * 255) / 255
    np.testing.assert_allclose(model.pool.rows(), expected, atol=1e-6)


@pytest.mark.parametrize('changes, message', [
    (dict(synthesis_batch_size=1),
     'synthesis_batch_size must be .*set model.synthesis_batch_size'),
    (dict(latent_lr=-1.0), 'latent_lr must be .*set model.latent_lr'),
    (dict(warmup_iterations=-1),
     'warmup_iterations must be .*set model.warmup_iterations'),
    (dict(pool=dict(capacity=0)), 'model.pool'),
    (dict(pool=dict(folder='images')), 'model.pool cannot be used'),
])
def test_wrong_values_are_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_plain(**changes)


def test_a_teacher_without_batch_norm_has_no_such_term() -> None:
    from tiny_networks import classifier
    network = classifier()
    network['backbone']['norm_cfg'] = dict(type='GN', num_groups=2)
    model = make_plain(
        bn_momentum=0.9,
        teacher=dict(
            type='MMPretrainTeacher',
            model=network,
            input_size=8,
            allow_random_weights=True))
    wrappers = optimisers(model)
    for _ in range(2):
        losses = model.train_step(None, wrappers)
        assert 'generator_bn' not in losses
        assert losses['generator_total'].isfinite()


@pytest.mark.parametrize('changes', [
    dict(),
    dict(
        pool=dict(capacity=12, dtype='uint8'),
        warmup_iterations=3,
        bn_momentum=0.5,
        augment=dict(type='RandomShift', max_pixels=2),
        synthesis_augment=dict(type='RandomShift', max_pixels=2),
        selector=dict(type='KeepEvery', n=2)),
])
def test_a_run_that_is_interrupted_goes_on_exactly(changes: dict) -> None:
    continues_exactly('PlainInversion', num_steps=2, **POOL | changes)


def test_a_pool_without_a_finite_image_is_a_user_error() -> None:
    model = make_plain()
    next(model.generator.parameters()).data.fill_(torch.nan)
    with pytest.raises(UserError, match='no synthesis has made a finite'):
        model.train_step(None, optimisers(model))
