"""What holds for each algorithm, whichever paper it is."""
import copy
import inspect
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from algorithm_helpers import (ALGORITHMS, BUFFER, INVERTING, PROCEDURAL,
                               as_set, assert_changed, assert_identical,
                               assert_unchanged, continues_exactly,
                               has_gradient, make_algorithm, one_iteration,
                               optimisers, real_batch, snapshot)
from torch import Tensor

import tadfkd
from tadfkd.algorithms import BaseDFKD
from tadfkd.registry import MODELS

EVERY = pytest.mark.parametrize('type', ALGORITHMS)
PACKAGE = Path(tadfkd.__file__).parent
CROP = dict(type='RandomCropFlip', padding=1)
HALF = dict(type='KeepEvery', n=2)
#: Their generators, or (the last) its optimiser alone, are reset with each
#: synthesis.
REINITIALISED = ('ADI', 'AgnosticDFKD', 'CMI', 'DeepInversion', 'NAYER',
                 'SpaceshipNet')


def test_the_list_is_that_of_the_registry() -> None:
    registered = {
        name
        for name, cls in MODELS.module_dict.items() if inspect.isclass(cls)
        and issubclass(cls, BaseDFKD) and cls.__module__.startswith('tadfkd.')
    }
    assert registered == set(ALGORITHMS)


@EVERY
def test_each_step_trains_one_network_and_never_the_teacher(type: str) -> None:
    model = make_algorithm(type)
    teacher = snapshot(model.teacher)
    before = {
        name: snapshot(getattr(model, name))
        for name in model.trained_networks
    }
    wrappers = optimisers(model)
    counts: Counter[str] = Counter()
    # What a dataloader gives is not looked at.
    data = real_batch() if type == 'VanillaKD' else object()
    for _ in range(2):
        seen = one_iteration(model, wrappers, data=data)
        assert_unchanged(model.teacher, teacher)
        counts.update(seen.order)
        # A generator step must not move the student's batch norm.
        forwards = len(seen.of('student', training=True))
        assert forwards == seen.order.count('student') * (1 + (type == 'KAKR'))
        for step in seen.steps:
            # The projection of CMI learns from the loss of the generator.
            along = {'projection'} if step.network == 'generator' else set()
            assert set(step.gradients) - along == {step.network}
            assert step.gradients[step.network] > 0
    assert set(counts) == set(model.trained_networks)
    assert counts['student'] == model.counters.student_steps
    for name in model.trained_networks:
        network = getattr(model, name)
        assert_changed(network, before[name])
        # It can be trained again.
        assert all(weight.requires_grad for weight in network.parameters())
        assert all(module.training for module in network.modules())
    assert not any(module.training for module in model.teacher.modules())
    assert not any(weight.requires_grad
                   for weight in model.teacher.parameters())
    for name, module in model.named_modules():
        assert not has_gradient(module), name
        assert not module._forward_hooks and not module._forward_pre_hooks


@EVERY
def test_a_run_that_is_saved_goes_on_exactly(type: str) -> None:
    # Images are left over, and all streams of random numbers are in use.
    continues_exactly(type, augment=CROP, selector=dict(type='KeepEvery', n=3))


# Real images are not selected, and SpaceshipNet selects decoded ones.
@pytest.mark.parametrize('type',
                         sorted({*ALGORITHMS} - {'SpaceshipNet', 'VanillaKD'}))
def test_the_networks_learn_from_selected_images_alone(type: str) -> None:
    changes: dict[str, Any] = {}
    if type == 'PREDFKD':
        # Replayed images are decoded.
        changes = dict(replay=BUFFER)
    if type == 'AgnosticDFKD':
        changes = dict(augment=None, procedural=PROCEDURAL | dict(share=0.0))
    model = make_algorithm(type, selector=HALF, **changes)
    slow = ('slow_generator.module', ) if type == 'MAD' else ()
    seen = one_iteration(model, also=slow)
    kept = as_set(*(call.images_BCHW[::2] for name in ('generator', *slow)
                    for call in seen.of(name)))
    for call in seen.of('student'):
        # Within a synthesis nothing is selected yet.
        if call.training or type not in INVERTING:
            assert as_set(call.images_BCHW) <= kept
    assert 0 < model.counters.images_selected < model.counters.images_generated


def with_adam(model: BaseDFKD, **wrapper: Any) -> Any:
    """Optimisers that remember, and clip gradients."""
    return optimisers(
        model, optimizer='AdamW', clip_grad=dict(max_norm=10.0), **wrapper)


def one_step_each(type: str) -> Any:
    """An algorithm with one step of each network in an iteration."""
    changes = dict(num_generator_steps=1) if type in INVERTING else {}
    return make_algorithm(type, augment=CROP, **changes)


def skipped(model: BaseDFKD) -> dict[str, int]:
    """The updates of each network that were skipped."""
    return {
        name: model.counters.updates[name].skipped
        for name in model.trained_networks
    }


@EVERY
def test_an_iteration_that_is_not_finite_changes_no_network(type: str) -> None:
    model = one_step_each(type)
    wrappers = with_adam(model)
    for _ in range(2):
        model.train_step(real_batch(), wrappers)
    assert set(skipped(model).values()) == {0}
    networks = {
        name: getattr(model, name)
        for name in model.trained_networks
        if not (name == 'generator' and type in REINITIALISED)
    }
    before = {name: snapshot(network) for name, network in networks.items()}
    states = {
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
        assert_identical(wrappers[name].state_dict(), states[name])
    counts = skipped(model)
    assert min(counts.values()) >= 1
    for name in model.trained_networks:
        assert_finite(getattr(model, name).state_dict())
    # Queued images are dropped when the next step begins.
    assert_finite(model.training_state(), skip='queue')

    bias.copy_(kept)
    losses = model.train_step(real_batch(), wrappers)
    assert_finite(losses)
    assert skipped(model) == counts
    assert_finite(model.training_state())
    for name, network in networks.items():
        assert_changed(network, before[name])
        assert model.counters.updates[name].skipped_in_a_row == 0


def assert_finite(values: Any, skip: str = '-') -> None:
    """However deep, but for the keys that contain a word."""
    if isinstance(values, Tensor):
        assert values.isfinite().all()
    elif isinstance(values, dict):
        for key, value in values.items():
            if skip not in key:
                assert_finite(value, skip)
    elif isinstance(values, list):
        for value in values:
            assert_finite(value, skip)


@pytest.mark.parametrize('type', ['DFQ', 'FastDFKD', 'NAYER', 'TADFKD'])
def test_images_that_are_not_finite_spoil_no_statistics(type: str) -> None:
    model = one_step_each(type)
    wrappers = with_adam(model)
    model.train_step(None, wrappers)
    before = snapshot(model.student)
    weight = next(model.generator.parameters()).data
    kept = weight.clone()
    weight.fill_(torch.nan)
    model.train_step(None, wrappers)
    weight.copy_(kept)
    if type not in INVERTING:
        assert_unchanged(model.student, before)
    for name in model.trained_networks:
        assert_finite(getattr(model, name).state_dict())
    assert_finite(model.training_state(), skip='queue')
    assert_finite(model.train_step(None, wrappers))
    assert_changed(model.student, before)


@EVERY
def test_a_step_waits_for_the_device_once_for_its_verdict(
        type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # On a GPU each wait stops the queue of work.
    model = make_algorithm(type, selector=dict(type='SelectAll'))
    wrappers = optimisers(model)
    model.train_step(real_batch(), wrappers)
    before = sum(u.applied for u in model.counters.updates.values())
    waits: Counter[str] = Counter()
    for name in ('item', 'tolist', '__float__', '__bool__'):
        original = getattr(Tensor, name)

        def watched(self: Tensor,
                    *inputs: Any,
                    original: Any = original) -> Any:
            caller = Path(sys._getframe(1).f_code.co_filename)
            if caller.is_relative_to(PACKAGE) and self.device.type != 'meta':
                waits[caller.name] += 1
            return original(self, *inputs)

        monkeypatch.setattr(Tensor, name, watched)
    model.train_step(real_batch(), wrappers)
    updates = sum(u.applied for u in model.counters.updates.values()) - before
    # A synthesis looks at its latents in each step, and at its statistics.
    more = 3 if type in INVERTING else 0
    assert updates <= waits.total() <= updates + more, waits
