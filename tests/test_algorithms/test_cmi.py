"""CMI: what the contrastive term compares, and whom it trains."""
from pathlib import Path
from typing import Any

import equations
import numpy as np
import pytest
import torch
from algorithm_helpers import (assert_unchanged, continues_exactly,
                               count_forwards, gradient_norm, make_algorithm,
                               optimisers, record_gradients,
                               runs_three_iterations, snapshot)
from equations import agreeing
from mmengine.optim import OptimWrapperDict
from torch import Tensor

from tadfkd.engine import PerNetworkConstructor
from tadfkd.errors import UserError
from tadfkd.networks.freezing import frozen
from tadfkd.structures import SyntheticBatch

#: Leaves the contrastive term alone.
CONTRASTIVE_ALONE = dict(
    one_hot_loss=dict(type='OneHotLoss', loss_weight=0.0),
    bn_loss=dict(type='BNStatisticsLoss', loss_weight=0.0),
    adversarial_loss=dict(type='AgreedKLLoss', loss_weight=0.0))


def penultimate(network: Any, images_BCHW: Tensor) -> np.ndarray:
    """The input of the last linear layer."""
    return equations.layer_inputs(network, images_BCHW, [network.head.fc])[0]


def projected(model: Any, features_NF: np.ndarray) -> np.ndarray:
    """Linear, ReLU, linear."""
    first, _, last = model.projection
    hidden = features_NF @ first.weight.detach().double().numpy(
    ).T + first.bias.detach().double().numpy()
    return np.maximum(hidden, 0) @ last.weight.detach().double().numpy(
    ).T + last.bias.detach().double().numpy()


def watch_local_views(model: Any) -> list[tuple[Tensor, Tensor]]:
    """Filled with what the local augmentation is given, and makes."""
    views: list[tuple[Tensor, Tensor]] = []
    model.local_augment.register_forward_hook(
        lambda _, inputs, made: views.append(
            (inputs[0].detach().clone(), made.detach().clone())))
    return views


@pytest.mark.parametrize('num_remembered', [0, 10])
def test_the_generator_minimises_the_papers_sum(num_remembered: int) -> None:
    images_BCHW, views_BCHW = torch.rand(2, 8, 1, 8, 8)
    model = agreeing(make_algorithm('CMI'), views_BCHW).eval()
    labels_B = torch.tensor([0, 1, 2, 3, 4, 4, 0, 1])
    negatives: list[np.ndarray] = []
    if num_remembered:
        model.bank.add(torch.rand(num_remembered, 32))
        sample = model.bank.sample

        def sampled(size: int, stream: torch.Generator) -> Tensor:
            rows_NF = sample(size, stream)
            negatives.append(rows_NF.double().numpy())
            return rows_NF

        model.bank.sample = sampled
    local_views = watch_local_views(model)
    batch = SyntheticBatch(images_BCHW, labels_B, views_BCHW)
    losses = model.generator_losses(batch, batch)

    network = model.teacher.network
    teacher_BK = equations.logits(network, views_BCHW)
    student_BK = equations.logits(model.student, views_BCHW)
    agreed_B = teacher_BK.argmax(1) == student_BK.argmax(1)
    assert 0 < agreed_B.sum() < 8
    [(augmented_BCHW, local_BCHW)] = local_views
    assert torch.equal(augmented_BCHW, images_BCHW)
    keys_NF = penultimate(network, views_BCHW)
    if num_remembered:
        [negatives_NF] = negatives
        assert negatives_NF.shape == (6, 32)
        stored = {row.tobytes() for row in model.bank.rows().double().numpy()}
        assert {row.tobytes() for row in negatives_NF} <= stored
        keys_NF = np.concatenate((keys_NF, negatives_NF))
    contrastive = equations.info_nce(
        projected(model, penultimate(network, local_BCHW)),
        projected(model, keys_NF), 0.1)
    assert {
        name: value.item()
        for name, value in losses.items()
    } == pytest.approx(
        dict(
            one_hot=equations.cross_entropy(teacher_BK, labels_B.tolist()),
            bn=equations.bn_distance(
                network, equations.bn_statistics(network, views_BCHW)),
            adversarial=-0.5 * equations.agreed_kl(student_BK, teacher_BK),
            contrastive=0.8 * contrastive),
        rel=1e-3)


def test_no_negatives_are_asked_of_the_bank_where_none_are_wanted() -> None:
    model = make_algorithm('CMI', num_negatives=0)
    model.bank.add(torch.rand(10, 32))
    images_BCHW = torch.rand(8, 1, 8, 8)
    views = watch_local_views(model)
    batch = SyntheticBatch(images_BCHW, torch.zeros(8).long())
    got = model.generator_losses(batch, batch)['contrastive'].item()
    network = model.teacher.network
    expected = equations.info_nce(
        projected(model, penultimate(network, views[0][1])),
        projected(model, penultimate(network, images_BCHW)), 0.1)
    assert got == pytest.approx(0.8 * expected, rel=1e-3)


def test_an_iteration_trains_the_networks_in_order() -> None:
    model = make_algorithm('CMI', num_generator_steps=3, num_student_steps=2)
    wrappers = optimisers(model)
    steps = record_gradients(model, wrappers)
    before = snapshot(model.teacher)
    model.train_step(None, wrappers)
    assert [step.network for step in steps
            ] == ['generator', 'projection'] * 3 + ['student'] * 2
    for step in steps[:6]:
        # The generator's are gone when the projection's optimiser steps.
        assert {*step.gradients} == {step.network, 'projection'}
        assert all(norm > 0 for norm in step.gradients.values())
    for step in steps[6:]:
        assert [*step.gradients] == ['student']
    assert_unchanged(model.teacher, before)
    assert model.counters.generator_steps == 3
    assert model.counters.student_steps == 2


def test_the_contrastive_term_trains_generator_latents_and_projection(
) -> None:
    model = make_algorithm('CMI', **CONTRASTIVE_ALONE)
    wrappers = optimisers(model)
    steps = record_gradients(model, wrappers)
    projection = snapshot(model.projection)
    latents: list[Tensor] = []
    invert, end = model.invert, model.end_synthesis
    model.invert = lambda latents_BZ, *others: (latents.append(
        latents_BZ.detach().clone()), invert(latents_BZ, *others))[1]
    model.end_synthesis = lambda made, latents_BZ: (latents.append(latents_BZ),
                                                    end(made, latents_BZ))
    with frozen(model.student):
        model.synthesis(wrappers)
    for step in steps:
        assert all(norm > 1e-7 for norm in step.gradients.values())
    drawn_BZ, learned_BZ = latents
    moved_BZ = (learned_BZ - drawn_BZ).abs()
    # Two steps of Adam at 1e-3.
    assert 1e-4 < moved_BZ.max() < 4e-3
    assert not torch.equal(model.projection[0].weight, projection['0.weight'])
    assert not torch.equal(model.projection[2].weight, projection['2.weight'])


def test_the_students_disagreement_alone_moves_the_generator() -> None:
    model = agreeing(
        make_algorithm(
            'CMI',
            one_hot_loss=dict(type='OneHotLoss', loss_weight=0.0),
            bn_loss=dict(type='BNStatisticsLoss', loss_weight=0.0),
            contrastive_loss=dict(type='InfoNCELoss', loss_weight=0.0)))
    wrappers = optimisers(model)
    steps = record_gradients(model, wrappers)
    before = snapshot(model.student)
    with frozen(model.student):
        losses = model.synthesis(wrappers)
    assert losses['adversarial'] < 0
    assert all(step.gradients['generator'] > 1e-6 for step in steps
               if step.network == 'generator')
    assert gradient_norm(model.student) == 0
    assert_unchanged(model.student, before)


def test_each_synthesis_has_a_new_generator_and_the_old_projection() -> None:
    model = make_algorithm('CMI')
    wrappers: OptimWrapperDict = PerNetworkConstructor({
        name:
        dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
        for name in model.trained_networks
    })(
        model)
    beginnings: list[dict[str, Tensor]] = []
    projections: list[dict[str, Tensor]] = []
    remembered: list[tuple[int, int]] = []
    begin = model.begin_synthesis

    def watched(wrapper: Any) -> None:
        projections.append(snapshot(model.projection))
        begin(wrapper)
        beginnings.append(snapshot(model.generator))
        remembered.append((len(wrapper.optimizer.state),
                           len(wrappers['projection'].optimizer.state)))
        assert_unchanged(model.projection, projections[-1])

    model.begin_synthesis = watched
    ends = []
    for _ in range(3):
        model.synthesis(wrappers)
        ends.append((snapshot(model.generator), snapshot(model.projection)))
    assert remembered == [(0, 0), (0, 4), (0, 4)]
    for index in (1, 2):
        for other in (beginnings[index - 1], ends[index - 1][0]):
            for name in ('project.weight', 'upsample.4.weight',
                         'upsample.8.weight', 'upsample.11.weight'):
                a, b = (
                    values[name].flatten().numpy()
                    for values in (beginnings[index], other))
                assert abs(np.corrcoef(a, b)[0, 1]) < 0.35
        # Of batch norms too.
        assert beginnings[index]['upsample.1.running_mean'].eq(0).all()
        assert beginnings[index]['upsample.1.weight'].eq(1).all()
        assert torch.equal(projections[index]['0.weight'],
                           ends[index - 1][1]['0.weight'])
        assert not torch.equal(projections[index]['0.weight'],
                               projections[index - 1]['0.weight'])


def test_the_bank_remembers_the_features_of_what_was_made() -> None:
    model = make_algorithm(
        'CMI',
        bank_capacity=20,
        synthesis_augment=dict(type='RandomShift', max_pixels=2))
    wrappers = optimisers(model)
    made = []
    for _ in range(3):
        model.synthesis(wrappers)
        made.append(model.pool.rows()[-8:])
        assert len(model.bank) == min(20, 8 * len(made))
    features_NF = np.concatenate(
        [penultimate(model.teacher.network, images) for images in made])
    np.testing.assert_allclose(
        model.bank.rows(), features_NF[-20:], rtol=1e-4, atol=1e-5)


def test_teacher_and_student_see_the_global_view() -> None:
    model = make_algorithm(
        'CMI',
        num_generator_steps=1,
        synthesis_augment=dict(type='RandomShift', max_pixels=2))
    seen: dict[str, list[Tensor]] = dict(teacher=[], student=[], made=[])
    model.teacher.register_forward_pre_hook(
        lambda _, inputs: seen['teacher'].append(inputs[0].detach().clone()))
    model.student.register_forward_pre_hook(
        lambda _, inputs: seen['student'].append(inputs[0].detach().clone()))
    model.generator.register_forward_hook(
        lambda *inputs: seen['made'].append(inputs[-1].detach().clone()))
    with frozen(model.student):
        model.synthesis(optimisers(model))
    # Global and local view, then the images themselves, for the pool and for
    # the bank.
    assert len(seen['teacher']) == 4
    global_BCHW = seen['teacher'][0]
    torch.testing.assert_close(seen['student'][0],
                               equations.normalised(global_BCHW))
    assert not torch.equal(global_BCHW, seen['made'][0])
    for image_CHW, view_CHW in zip(seen['made'][0], global_BCHW):
        assert torch.equal(image_CHW.flatten().sort().values,
                           view_CHW.flatten().sort().values)
    for images_BCHW in seen['teacher'][2:]:
        assert torch.equal(images_BCHW, seen['made'][0])


def test_a_synthesis_asks_each_network_as_often_as_needed() -> None:
    model = make_algorithm('CMI')
    with count_forwards(model) as sizes, frozen(model.student):
        model.synthesis(optimisers(model))
    assert sizes == dict(
        # Two views a step, and once each for the pool and the bank.
        teacher=[8] * 6,
        student=[8] * 2,
        generator=[8] * 2)


@pytest.mark.parametrize('changes, message', [
    (dict(num_features=31),
     'num_features must be 32.*got 31: set model.num_features'),
    (dict(embedding_size=0), 'embedding_size must be .*model.embedding_size'),
    (dict(bank_capacity=0), 'bank_capacity must be .*model.bank_capacity'),
    (dict(num_negatives=-1), 'num_negatives must be .*model.num_negatives'),
])
def test_wrong_numbers_are_refused_by_name(changes: dict,
                                           message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_algorithm('CMI', **changes)


def test_the_bank_survives_an_interruption() -> None:
    # With the bank lost, the first step after it has no negatives of the
    # past.
    continues_exactly('CMI', num_steps=2)


@pytest.mark.parametrize('leaf', [
    'resnet18w16_to_resnet18w8_digits', 'resnet18w16_to_resnet18w8_digits_ta'
])
def test_three_iterations_of_the_digits_config(tiny_teacher_checkpoint: str,
                                               tmp_path: Path,
                                               leaf: str) -> None:
    model, losses = runs_three_iterations(
        'CMI', tiny_teacher_checkpoint, tmp_path, leaf=leaf)
    assert len(model.bank) == 24
    assert len(model.pool) == model.counters.images_selected
    for row in losses:
        assert {*row} == {
            f'generator_{name}'
            for name in ('one_hot', 'bn', 'adversarial', 'contrastive',
                         'total')
        } | {'student_logits', 'student_total'}
