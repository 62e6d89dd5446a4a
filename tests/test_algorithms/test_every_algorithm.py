"""What holds for each algorithm, whichever paper it is."""
import copy
import inspect
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from algorithm_helpers import (ALGORITHMS, CONFIGS, assert_changed,
                               assert_unchanged, continues_exactly,
                               has_gradient, make_algorithm, optimisers,
                               real_batch, record_gradients, snapshot)
from torch import Tensor

from tadfkd import algorithms
from tadfkd.algorithms import BaseDFKD
from tadfkd.algorithms.inversion import InversionDFKD
from tadfkd.apis import load_config
from tadfkd.registry import MODELS
from tadfkd.teachers import base as teachers

EVERY = pytest.mark.parametrize('type', ALGORITHMS)
PACKAGE = Path(algorithms.__file__).parents[1]


def after_a_step(type: str) -> BaseDFKD:
    """One whose networks have all learned in two iterations, so that pools
    and replay are in use."""
    model = make_algorithm(type)
    wrappers = optimisers(model)
    for _ in range(2):
        model.train_step(real_batch(), wrappers)
    return model


def test_the_list_is_that_of_the_registry() -> None:
    registered = {
        name
        for name, cls in MODELS.module_dict.items() if inspect.isclass(cls)
        and issubclass(cls, BaseDFKD) and cls.__module__.startswith('tadfkd.')
    }
    assert registered == set(ALGORITHMS)


@EVERY
def test_the_teacher_stays_as_it_is_bit_by_bit(type: str) -> None:
    model = make_algorithm(type)
    before = snapshot(model.teacher)
    wrappers = optimisers(model)
    trained = {
        name: snapshot(getattr(model, name))
        for name in model.trained_networks
    }
    for _ in range(2):
        model.train_step(real_batch(), wrappers)
        assert_unchanged(model.teacher, before)
        for parameter in model.teacher.parameters():
            assert not parameter.requires_grad
            assert parameter.grad is None
        assert not any(module.training for module in model.teacher.modules())
    for name in model.trained_networks:
        assert_changed(getattr(model, name), trained[name])


@EVERY
def test_no_gradient_is_left_for_the_next_iteration(type: str) -> None:
    model = after_a_step(type)
    for name, network in model.named_children():
        assert not has_gradient(network), name
    # All that is trained can be trained again, in training mode.
    for name in model.trained_networks:
        network = getattr(model, name)
        assert all(weight.requires_grad for weight in network.parameters())
        assert all(module.training for module in network.modules())


@EVERY
def test_an_optimiser_steps_on_gradients_of_its_own_network(type: str) -> None:
    model = make_algorithm(type)
    wrappers = optimisers(model)
    steps = record_gradients(model, wrappers)
    for _ in range(2):
        model.train_step(real_batch(), wrappers)
    assert {step.network for step in steps} == set(model.trained_networks)
    for step in steps:
        assert step.gradients[step.network] > 0
        # The projection of CMI learns from the loss of the generator.
        along = {'projection'} if step.network == 'generator' else set()
        assert set(step.gradients) - along == {step.network}
    counts = Counter(step.network for step in steps)
    assert counts['student'] == model.counters.student_steps


@EVERY
def test_the_student_is_another_network_than_the_teacher(type: str) -> None:
    model = make_algorithm(type)
    teacher = {
        value.data_ptr()
        for value in (*model.teacher.parameters(), *model.teacher.buffers())
        if value.numel() > 1
    }
    assert len(teacher) > 10
    assert not any(value.data_ptr() in teacher
                   for name in model.trained_networks
                   for value in getattr(model, name).state_dict().values())


@EVERY
def test_no_hook_stays_behind_on_a_network(type: str) -> None:
    model = after_a_step(type)
    for name, module in model.named_modules():
        assert not module._forward_hooks, name
        assert not module._forward_pre_hooks, name


@EVERY
def test_batch_norm_statistics_are_read_where_a_loss_needs_them(
        type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_algorithm(type)
    reads: list[object] = []
    read = teachers.read_bn_statistics
    monkeypatch.setattr(teachers, 'read_bn_statistics', lambda *inputs:
                        (reads.append(1), read(*inputs))[1])
    model.train_step(real_batch(), optimisers(model))
    forwards = model.counters.generator_steps if model.bn_loss else 0
    assert len(reads) == forwards * len(model.teacher.bn_layers)


@pytest.mark.parametrize(('type', 'changes'), [
    ('TADFKD', dict()),
    ('TADFKD',
     dict(bn_on='plain', augment=dict(type='RandomCropFlip', padding=4))),
    ('DFQ', dict()),
    ('DeepInversion', dict()),
])
def test_without_a_batch_norm_term_none_are_read(
        type: str, changes: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict] = []
    model = make_algorithm(type, bn_loss=None, **changes)
    forward = model.teacher.forward
    monkeypatch.setattr(
        model.teacher, 'forward', lambda *images, **parts:
        (asked.append(parts), forward(*images, **parts))[1])
    model.train_step(None, optimisers(model))
    assert asked
    assert not any(parts.get('with_bn') for parts in asked)


@EVERY
def test_a_step_waits_for_the_device_once_for_its_verdict(
        type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # On a GPU each wait stops the queue of work.
    model = make_algorithm(type, selector=dict(type='SelectAll'))
    wrappers = optimisers(model)
    model.train_step(real_batch(), wrappers)
    before = copy.deepcopy(model.counters.updates)
    callers: list[str] = []
    for name in ('item', 'tolist', '__float__', '__bool__'):
        original = getattr(Tensor, name)

        def watched(self: Tensor,
                    *inputs: Any,
                    original: Any = original) -> Any:
            caller = Path(sys._getframe(1).f_code.co_filename)
            if PACKAGE in caller.parents and self.device.type != 'meta':
                callers.append(caller.name)
            return original(self, *inputs)

        monkeypatch.setattr(Tensor, name, watched)
    model.train_step(real_batch(), wrappers)
    waits = Counter(callers)
    assert waits.pop('finite_steps.py') == sum(
        updates.applied - before[network].applied
        for network, updates in model.counters.updates.items())
    # Of the latents in each step of a synthesis, and once for what it leaves.
    inverts = isinstance(model, InversionDFKD)
    assert waits.pop('finite.py', 0) <= inverts * model.num_generator_steps
    assert waits.pop('averaged_statistics.py', 0) <= inverts
    assert not waits


@EVERY
def test_a_run_that_is_saved_goes_on_exactly(type: str) -> None:
    continues_exactly(type, num_steps=2)


@EVERY
def test_training_reads_no_images_but_where_the_name_says_so(
        type: str) -> None:
    config = load_config(CONFIGS / type.lower() /
                         'resnet18w16_to_resnet18w8_digits.py')
    assert config.model.type == type
    dataset = config.train_dataloader.dataset
    if type == 'VanillaKD':
        assert dataset.type == 'Digits'
        return
    assert dataset.type == 'StepDataset'
    # What a dataloader gives is not looked at.
    model = make_algorithm(type)
    losses = model.train_step(object(), optimisers(model))
    assert all(torch.isfinite(value) for value in losses.values())


@EVERY
def test_the_equations_are_on_top_of_its_class(type: str) -> None:
    text = inspect.getdoc(MODELS.get(type)) or ''
    assert '::\n' in text
    equations = text.split('::\n', 1)[1].strip('\n').split('\n\n')[0]
    assert equations not in text.partition('Args:')[2]
    assert all(line.startswith('    ') for line in equations.splitlines())
    # Of the images x, or of networks on them.
    assert re.search(r'\b[TSGL]\(|\bT\b', equations)


@EVERY
def test_its_file_is_short(type: str) -> None:
    path = Path(inspect.getfile(MODELS.get(type)))
    lines = len(path.read_text().splitlines())
    assert lines <= 150, f'{path.name}: {lines}'
