"""What is not finite never reaches a network, whichever algorithm it is."""
import copy
from typing import Any

import pytest
import torch
from algorithm_helpers import (ALGORITHMS, assert_changed, assert_unchanged,
                               make_algorithm, real_batch, snapshot)
from mmengine.optim import OptimWrapperDict
from test_evaluation.test_synthetic_measures import assert_identical
from torch import Tensor

from tadfkd.algorithms import BaseDFKD
from tadfkd.algorithms.inversion import InversionDFKD
from tadfkd.engine import PerNetworkConstructor
from tadfkd.registry import MODELS

#: Their generators begin anew, or change on, after the last step of each.
REMADE = ('ADI', 'CMI', 'DeepInversion', 'NAYER', 'SpaceshipNet')


def with_adam(model: BaseDFKD, type: str = 'OptimWrapper') -> OptimWrapperDict:
    """Optimisers that remember, and decay weights."""
    return PerNetworkConstructor({
        name:
        dict(
            type=type,
            optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.1),
            clip_grad=dict(max_norm=10.0))
        for name in model.trained_networks
    })(
        model)


def one_step_each(type: str) -> BaseDFKD:
    """An algorithm whose iteration has one step of each network."""
    steps: dict[str, Any] = dict(num_student_steps=1)
    if issubclass(MODELS.get(type), InversionDFKD):
        # Otherwise the student learns from answers that the teacher gave.
        steps['augment'] = dict(type='RandomCropFlip', padding=1)
    if type not in ('RandomNoiseKD', 'VanillaKD'):
        steps['num_generator_steps'] = 1
    return make_algorithm(type, **steps)


def skipped(model: BaseDFKD) -> dict[str, int]:
    """Of each network."""
    return {
        name: model.counters.updates[name].skipped
        for name in model.trained_networks
    }


@pytest.mark.parametrize('type', ALGORITHMS)
def test_an_iteration_that_is_not_finite_changes_no_network(type: str) -> None:
    model = one_step_each(type)
    wrappers = with_adam(model)
    for _ in range(2):
        model.train_step(real_batch(), wrappers)
    assert set(skipped(model).values()) == {0}

    networks = {name: getattr(model, name) for name in model.trained_networks}
    if isinstance(model, InversionDFKD):
        # What a synthesis begins with.
        if type in REMADE:
            del networks['generator']
        before_pool = model.pool.state_dict()
    before = {name: snapshot(net) for name, net in networks.items()}
    optimisers = {
        name: copy.deepcopy(wrappers[name].state_dict())
        for name in networks
    }
    bias = model.teacher.network.head.fc.bias.data
    kept = bias.clone()
    bias.fill_(torch.nan)
    losses = model.train_step(real_batch(), wrappers)
    assert not losses['student_total'].isfinite()
    for name, network in networks.items():
        assert_unchanged(network, before[name])
        assert_identical(wrappers[name].state_dict(), optimisers[name])
    for name in model.trained_networks:
        assert_finite(getattr(model, name).state_dict())
    expected = dict.fromkeys(model.trained_networks, 1)
    if type == 'FastDFKD':
        # The copy's step, and then the meta step.
        expected['generator'] = 2
    assert skipped(model) == expected
    assert_finite(without_queues(model.training_state()))
    if isinstance(model, InversionDFKD):
        # What was made was finite, but nothing else has been touched.
        assert len(model.pool) >= len(before_pool['rows'])

    bias.copy_(kept)
    losses = model.train_step(real_batch(), wrappers)
    assert all(value.isfinite() for value in losses.values())
    assert skipped(model) == expected
    assert_finite(model.training_state())
    for name, network in networks.items():
        assert_changed(network, before[name])
        assert model.counters.updates[name].skipped_in_a_row == 0


def without_queues(state: dict[str, Any]) -> dict[str, Any]:
    """What waits is forgotten when the next step begins."""
    return {
        name: part
        for name, part in state.items() if not name.endswith('queue')
    }


def assert_finite(values: Any) -> None:
    """However deep."""
    if isinstance(values, Tensor):
        assert values.isfinite().all()
    elif isinstance(values, dict):
        assert_finite(list(values.values()))
    elif isinstance(values, list):
        for value in values:
            assert_finite(value)


@pytest.mark.parametrize('type', ['DFQ', 'FastDFKD', 'NAYER', 'TADFKD'])
def test_images_that_are_not_finite_spoil_no_statistics(type: str) -> None:
    # The batch norms of the generator, the teacher's statistics and the pool
    # meet them too.
    model = one_step_each(type)
    wrappers = with_adam(model)
    model.train_step(None, wrappers)
    before = snapshot(model.student)
    weight = next(model.generator.parameters()).data
    kept = weight.clone()
    weight.fill_(torch.nan)
    model.train_step(None, wrappers)
    weight.copy_(kept)
    if not isinstance(model, InversionDFKD):
        assert_unchanged(model.student, before)
    for name in model.trained_networks:
        assert_finite(getattr(model, name).state_dict())
    assert_finite(without_queues(model.training_state()))
    losses = model.train_step(None, wrappers)
    assert all(value.isfinite() for value in losses.values())
    assert_changed(model.student, before)


def test_bfloat16_steps_are_guarded_too() -> None:
    model = one_step_each('TADFKD')
    wrappers = with_adam(model, 'tadfkd.AutocastOptimWrapper')
    model.train_step(None, wrappers)
    before = {
        name: snapshot(getattr(model, name))
        for name in model.trained_networks
    }
    model.teacher.network.head.fc.bias.data.fill_(torch.inf)
    model.train_step(None, wrappers)
    for name in model.trained_networks:
        assert_unchanged(getattr(model, name), before[name])
    assert skipped(model) == dict(student=1, generator=1)
