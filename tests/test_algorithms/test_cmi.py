"""CMI: what the contrastive term compares, and which networks it trains."""
from typing import Any

import equations
import numpy as np
import pytest
import torch
from algorithm_helpers import (make_algorithm, one_iteration, optimisers,
                               snapshot)
from torch import Tensor

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


def record_negatives(model: Any) -> list[np.ndarray]:
    """Filled with what is drawn from the bank."""
    drawn: list[np.ndarray] = []
    sample = model.bank.sample

    def sampled(*inputs: Any) -> Tensor:
        rows_NF = sample(*inputs)
        drawn.append(rows_NF.double().numpy())
        return rows_NF

    model.bank.sample = sampled
    return drawn


@pytest.mark.parametrize('num_negatives', [0, 6])
def test_both_networks_minimise_the_papers_sums(num_negatives: int) -> None:
    model = make_algorithm(
        'CMI',
        batch_size=16,
        synthesis_augment=SHIFT,
        num_negatives=num_negatives)
    equations.agreeing(model)
    wrappers = optimisers(model, lr=0.0)
    one_iteration(model, wrappers)
    negatives = record_negatives(model)
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

    keys_NF = equations.penultimate(network, global_BCHW)
    if num_negatives:
        assert negatives[-1].shape == (6, 32)
        keys_NF = np.concatenate((keys_NF, negatives[-1]))
    else:
        assert negatives == []
    contrastive = equations.info_nce(
        projected(model, equations.penultimate(network, local.images_BCHW)),
        projected(model, keys_NF), 0.1)
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


def test_the_bank_remembers_the_features_of_what_was_made() -> None:
    model = make_algorithm('CMI', bank_capacity=20, synthesis_augment=SHIFT)
    wrappers = optimisers(model)
    made = []
    for _ in range(3):
        model.train_step(None, wrappers)
        made.append(model.pool.rows()[-8:].clone())
        assert len(model.bank) == min(20, 8 * len(made))
    expected_NF = equations.penultimate(model.teacher.network, torch.cat(made))
    np.testing.assert_allclose(
        model.bank.rows(), expected_NF[-20:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('changes, message', [
    (dict(num_features=31),
     'num_features must be 32.*got 31: set model.num_features'),
    (dict(num_negatives=-1), 'num_negatives must be .*model.num_negatives'),
])
def test_wrong_numbers_are_refused_by_name(changes: dict,
                                           message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_algorithm('CMI', **changes)
