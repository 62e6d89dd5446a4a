"""CMI: what the contrastive term compares, and which networks it trains."""
from typing import Any

import equations
import numpy as np
import pytest
import torch
from algorithm_helpers import (assert_unchanged, make_algorithm, one_iteration,
                               optimisers, snapshot, tiny_teacher)
from tiny_networks import classifier
from torch import Tensor, nn

from tadfkd.checkpoints.weights import load_weights
from tadfkd.errors import UserError

ALL_OFF = dict(
    one_hot_loss=dict(type='OneHotLoss', loss_weight=0.0),
    bn_loss=dict(type='BNStatisticsLoss', loss_weight=0.0),
    adversarial_loss=dict(type='AgreedKLLoss', loss_weight=0.0))
SHIFT = dict(type='RandomShift', max_pixels=2)


def projected(model: Any, features_NF: np.ndarray) -> np.ndarray:
    """Linear, ReLU, linear."""
    first, _, last = (snapshot(layer) for layer in model.projection)
    hidden = features_NF @ first['weight'].double().numpy(
    ).T + first['bias'].double().numpy()
    return np.maximum(hidden, 0) @ last['weight'].double().numpy(
    ).T + last['bias'].double().numpy()


def record_pairs(model: Any) -> list[np.ndarray]:
    """Filled with what is drawn from the bank."""
    drawn: list[np.ndarray] = []
    sample = model.bank.sample_distinct

    def sampled(*inputs: Any) -> Tensor:
        rows_NF = sample(*inputs)
        drawn.append(rows_NF.double().numpy())
        return rows_NF

    model.bank.sample_distinct = sampled
    return drawn


def features(network: Any, images_BCHW: Tensor) -> np.ndarray:
    """Means of what the first three stages make, the others being single
    pixels."""
    maps = equations.stage_outputs(network, images_BCHW, (1, 2, 3))
    return np.concatenate([values.mean((2, 3)) for values in maps], 1)


def views(network: Any, local_BCHW: Tensor,
          global_BCHW: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Features of both views."""
    return features(network, local_BCHW), features(network, global_BCHW)


# The bank has 16 pairs.
@pytest.mark.parametrize('num_negatives, num_pairs', [(0, 0), (6, 6),
                                                      (4096, 16)])
def test_both_networks_minimise_the_papers_sums(num_negatives: int,
                                                num_pairs: int) -> None:
    model = make_algorithm(
        'CMI',
        batch_size=16,
        synthesis_augment=SHIFT,
        num_negatives=num_negatives)
    equations.agreeing(model)
    wrappers = optimisers(model, lr=0.0)
    one_iteration(model, wrappers)
    drawn = record_pairs(model)
    bank_N2F = model.bank.rows().double().numpy()
    seen = one_iteration(model, wrappers, also=('local_augment', ))
    network = model.teacher.network
    # The last step of the synthesis: the student and the teacher see the
    # global view, and the local one is another.
    call = seen.of('student', training=False)[-1]
    global_BCHW, student_BK = call.images_BCHW, call.logits_BK
    made_BCHW = seen.made[-1]
    local = seen.of('local_augment')[-1]
    assert torch.equal(local.inputs[0], made_BCHW)
    assert not torch.equal(global_BCHW, made_BCHW)
    teacher_BK = equations.logits(network, global_BCHW)

    queries, keys = views(network, local.images_BCHW, global_BCHW)
    if num_pairs:
        assert len({*map(bytes, drawn[-1])} & {*map(bytes, bank_N2F)}) == \
            len(drawn[-1]) == num_pairs
        old_queries, old_keys = np.split(drawn[-1], 2, 1)
        queries = np.concatenate((queries, old_queries))
        keys = np.concatenate((keys, old_keys))
    else:
        assert drawn == []
    queries, keys = projected(model, queries), projected(model, keys)
    contrastive = equations.info_nce(queries[:16], keys, 0.1)
    if num_pairs:
        contrastive += equations.info_nce(queries[16:], keys, 0.1, first=16)
    [student] = seen.of('student', training=True)
    seen.assert_losses(
        generator=dict(
            one_hot=equations.cross_entropy(teacher_BK, seen.labels()),
            bn=equations.bn_distance(
                network, equations.bn_statistics(network, global_BCHW)),
            adversarial=-0.5 * equations.agreed_kl(student_BK, teacher_BK),
            contrastive=0.8 * contrastive),
        student=dict(
            logits=equations.kl(student.logits_BK,
                                equations.logits(network, student.images_BCHW),
                                20)))
    assert abs(seen.losses['generator_adversarial']) > 1e-3


def test_the_contrastive_term_trains_generator_latents_and_projection(
) -> None:
    model = make_algorithm('CMI', num_generator_steps=3, **ALL_OFF)
    before = snapshot(model.projection)
    seen = one_iteration(model)
    assert seen.order == ['generator', 'projection'] * 3 + ['student']
    for step in seen.steps[:-1]:
        assert all(norm > 1e-7 for norm in step.gradients.values())
    first_BZ, *_, last_BZ = seen.latents()
    # Two steps of Adam at 1e-3.
    assert 1e-4 < (last_BZ - first_BZ).abs().max() < 4e-3
    for name in ('0.weight', '2.weight'):
        assert not model.projection.get_parameter(name).equal(before[name])


def test_each_synthesis_has_a_new_generator_and_the_old_projection() -> None:
    model = make_algorithm('CMI', num_student_steps=1)
    wrappers = optimisers(model, optimizer='Adam')
    for _ in range(2):
        before = snapshot(model)
        beginnings: list[dict[str, Tensor]] = []
        handle = model.generator.register_forward_pre_hook(
            lambda *_, found=beginnings: found.append(snapshot(model)))
        states: list[dict[str, int]] = []
        step = wrappers['generator'].optimizer.register_step_pre_hook(
            lambda *_, found=states: found.append({
                name:
                len(wrappers[name].optimizer.state)
                for name in ('generator', 'projection')
            }))
        model.train_step(None, wrappers)
        handle.remove()
        step.remove()
        begin = beginnings[0]
        for name in ('project.weight', 'upsample.4.weight'):
            old, new = (
                values[f'generator.{name}'].flatten().numpy()
                for values in (before, begin))
            assert abs(np.corrcoef(old, new)[0, 1]) < 0.35
            assert 0.016 < new.std() < 0.024
        assert not begin['generator.project.bias'].any()
        assert begin['projection.0.weight'].equal(
            before['projection.0.weight'])
        # The optimiser of the generator is new too.
        assert states[0]['generator'] == 0
    assert states[0]['projection'] == 4


def test_the_bank_keeps_both_views_of_the_images_that_were_kept() -> None:
    model = make_algorithm(
        'CMI',
        bank_capacity=20,
        num_generator_steps=4,
        synthesis_augment=SHIFT)
    # Steps so small that views, and not steps, decide which loss is lowest.
    wrappers = optimisers(model, lr=1e-4)
    expected = np.zeros((0, 2 * 28))
    steps = []
    for _ in range(3):
        seen = one_iteration(
            model, wrappers, also=('local_augment', 'synthesis_augment'))
        kept_BCHW = model.pool.rows()[-8:]
        [step] = [
            index for index, images_BCHW in enumerate(seen.made)
            if torch.equal(images_BCHW, kept_BCHW)
        ]
        steps.append(step)
        pairs = views(model.teacher.network,
                      seen.of('local_augment')[step].images_BCHW,
                      seen.of('synthesis_augment')[step].images_BCHW)
        expected = np.concatenate((expected, np.concatenate(pairs, 1)))
        assert len(model.bank) == min(20, len(expected))
    assert {*steps} != {3}
    np.testing.assert_allclose(
        model.bank.rows(), expected[-20:], rtol=1e-4, atol=1e-5)


def drawn_values(stream: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=stream)


# zju-vipa/CMI at 9e79fa9: loss_cr, and the norms of its gradients.
@pytest.mark.parametrize('bank, loss, local, weight', [
    (0, 1.1138008, 0.672544007, 1.72169361),
    (40, 7.4056084, 1.09704526, 3.24553582),
    (16, 6.71529823, 1.36628486, 5.59088885),
])
def test_the_contrastive_term_is_that_of_the_released_code(
        bank: int, loss: float, local: float, weight: float) -> None:
    model = make_algorithm('CMI', bank_capacity=40, num_negatives=4096)
    stream = torch.Generator().manual_seed(210)
    local_BF = drawn_values(stream, 8, 12).requires_grad_()
    global_BF = (0.7 * local_BF.detach() +
                 0.3 * drawn_values(stream, 8, 12)).requires_grad_()
    model.projection = nn.Sequential(
        nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 6))
    for parameter in model.projection.parameters():
        scale = 0.6 if parameter.ndim == 2 else 0.2
        parameter.data = (drawn_values(stream, *parameter.shape) - 0.5) * scale
    if bank > 0:
        model.bank.add(drawn_values(stream, bank, 24))
    found = model.contrast(local_BF, global_BF) / 0.8
    assert found.item() == pytest.approx(loss, rel=1e-5)
    found.backward()
    assert local_BF.grad is not None
    assert local_BF.grad.norm().item() == pytest.approx(local, rel=1e-5)
    # Keys are detached.
    assert global_BF.grad is None or not global_BF.grad.any()
    assert model.projection[0].weight.grad.norm().item() == pytest.approx(
        weight, rel=1e-5)


def test_a_bank_that_has_just_become_full_is_drawn_from() -> None:
    # The released code draws 0 of 12 after exactly 32 rows, cmi.bank_rows.
    model = make_algorithm('CMI', bank_capacity=32, num_negatives=12)
    drawn = record_pairs(model)
    counts = []
    for _ in range(7):
        rows_BF = torch.rand(8, 28)
        model.contrast(rows_BF, rows_BF)
        counts.append(len(drawn[-1]) if drawn else 0)
        model.bank.add(torch.rand(8, 56))
    assert counts == [0, 8, 12, 12, 12, 12, 12]


def test_the_hidden_layer_is_as_wide_as_the_features() -> None:
    # Of 16 pixels, the maps of all four stages have more than one.
    teacher = tiny_teacher(classifier(5), 16)
    model = make_algorithm('CMI', teacher=teacher)
    first, _, last = model.projection
    assert first.weight.shape == (60, 60) and last.weight.shape == (4, 60)


def test_a_teacher_without_maps_can_give_its_penultimate_features() -> None:
    vector = dict(
        type='ImageClassifier',
        backbone=dict(
            type='VisionTransformer',
            arch=dict(
                embed_dims=12,
                num_layers=1,
                num_heads=2,
                feedforward_channels=8),
            img_size=8,
            patch_size=4,
            in_channels=1),
        head=dict(type='LinearClsHead', num_classes=5, in_channels=12),
        data_preprocessor=dict(mean=[127.5], std=[63.75]))
    model = make_algorithm(
        'CMI', teacher=tiny_teacher(vector), features='penultimate')
    assert model.projection[0].weight.shape == (12, 12)
    one_iteration(model)
    assert model.bank.rows().shape == (8, 24)


def test_a_checkpoint_is_evaluated_without_teacher_and_projection() -> None:
    model = make_algorithm('CMI')
    other = make_algorithm('CMI', teacher=None, num_classes=5)
    load_weights(other, model.state_dict(), 'the checkpoint')
    assert_unchanged(other.student, snapshot(model.student))
    assert {key.partition('.')[0]
            for key in other.state_dict()} == {'student', 'generator'}


@pytest.mark.parametrize('changes, message', [
    (dict(features='all'), 'features must be .*model.features'),
    (dict(num_negatives=-1), 'num_negatives must be .*model.num_negatives'),
])
def test_wrong_numbers_are_refused_by_name(changes: dict,
                                           message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_algorithm('CMI', **changes)


def test_stages_of_a_teacher_without_maps_are_refused_by_name() -> None:
    # Its maps are single pixels.
    teacher = tiny_teacher(classifier(5), 1)
    with pytest.raises(UserError, match="set model.features='penultimate'"):
        make_algorithm('CMI', teacher=teacher)
