"""Fast-DFKD: the copy's steps, and what the generator makes of them."""
import copy
from pathlib import Path
from typing import Any

import equations
import numpy as np
import pytest
import torch
from algorithm_helpers import (assert_unchanged, continues_exactly,
                               make_algorithm, optimisers, record_gradients,
                               runs_three_iterations, snapshot)
from equations import agreeing
from torch import Tensor, nn

from tadfkd.errors import UserError
from tadfkd.networks.freezing import frozen
from tadfkd.structures import SyntheticBatch


def record_synthesis(model: Any) -> dict[str, Any]:
    """Filled with what a synthesis draws."""
    drawn: dict[str, Any] = {}
    invert = model.invert

    def watched(latents_BZ: Tensor, labels_B: Tensor, *others: Any) -> Any:
        drawn.update(latents=latents_BZ.detach().clone(), labels=labels_B)
        return invert(latents_BZ, labels_B, *others)

    model.invert = watched
    return drawn


def record_meta_gradient(model: Any, wrappers: Any) -> dict[str, Tensor]:
    """Filled when the generator's optimiser steps."""
    gradients: dict[str, Tensor] = {}
    wrappers['generator'].optimizer.register_step_pre_hook(
        lambda *_: gradients.update({
            name: parameter.grad.clone()
            for name, parameter in model.generator.named_parameters()
        }))
    return gradients


def plain_loss(model: Any, images_BCHW: Tensor, labels_B: Tensor) -> Tensor:
    """0.4 CE + 10 BN - 1.1 KL where both agree, with the graph."""
    network, inputs = model.teacher.network, []
    handles = [
        layer.register_forward_pre_hook(lambda layer, args: inputs.append(
            (layer, args[0]))) for layer in equations.batch_norms(network)
    ]
    x = (255 * images_BCHW - 127.5) / 63.75
    teacher_BK = network(x, mode='tensor')
    for handle in handles:
        handle.remove()
    student_BK = model.student(x, mode='tensor')
    loss = 0.4 * nn.functional.cross_entropy(teacher_BK, labels_B)
    for layer, map_ in inputs:
        variance_F, mean_F = torch.var_mean(map_, (0, 2, 3), unbiased=False)
        loss = loss + 10 * (mean_F - layer.running_mean).norm() \
            + 10 * (variance_F - layer.running_var).norm()
    q_BK, p_BK = teacher_BK.softmax(1), student_BK.softmax(1)
    divergence_B = (q_BK * (q_BK / p_BK).log()).sum(1)
    agreed_B = (teacher_BK.argmax(1) == student_BK.argmax(1)).float()
    return loss - 1.1 * (agreed_B * divergence_B).mean()


def inner_loop(model: Any, generator: nn.Module, drawn: dict[str, Any],
               num_steps: int) -> dict[str, Any]:
    """Train a plain copy by torch's Adam; sum the gradients of its steps."""
    latents_BZ = drawn['latents'].clone().requires_grad_()
    optimizer = torch.optim.Adam([
        dict(params=[*generator.parameters()], lr=2e-3),
        dict(params=[latents_BZ], lr=1e-2)
    ],
                                 betas=(0.5, 0.999))
    summed = {
        name: torch.zeros_like(parameter)
        for name, parameter in generator.named_parameters()
    }
    images, losses = [], []
    with frozen(model.student):
        for _ in range(num_steps):
            images_BCHW = generator(latents_BZ)
            loss = plain_loss(model, images_BCHW, drawn['labels'])
            optimizer.zero_grad()
            loss.backward()
            for name, parameter in generator.named_parameters():
                summed[name] += parameter.grad
            optimizer.step()
            images.append(images_BCHW.detach())
            losses.append(loss.item())
    return dict(
        summed=summed,
        latents=latents_BZ.detach(),
        images=images[int(np.argmin(losses))])


@pytest.mark.parametrize('meta', ['maml', 'reptile'])
def test_the_meta_gradient_is_that_of_a_plain_loop(meta: str) -> None:
    model = agreeing(
        make_algorithm('FastDFKD', meta=meta, num_generator_steps=4))
    generator = copy.deepcopy(model.generator)
    before = snapshot(model.generator)
    wrappers = optimisers(model, lr=0.5)
    drawn, ends = record_synthesis(model), []
    model.end_synthesis = lambda made, latents_BZ: ends.append(latents_BZ)
    gradients = record_meta_gradient(model, wrappers)
    with frozen(model.student):
        model.synthesis(wrappers)
    expected = inner_loop(model, generator, drawn, 4)

    weights = dict(model.generator.named_parameters())
    for name, learned in generator.named_parameters():
        if meta == 'maml':
            gradient = expected['summed'][name]
        else:
            gradient = before[name] - learned.detach()
        scale = float(gradient.norm())
        # In front of a batch norm, a bias has no gradient but round-off.
        if name not in ('project.bias', 'upsample.4.bias', 'upsample.8.bias'):
            assert scale > 1e-5, name
            error = float((gradients[name] - gradient).norm())
            assert error < 0.02 * scale, name
        # And the generator itself makes one plain step along it.
        torch.testing.assert_close(weights[name].detach(),
                                   before[name] - 0.5 * gradients[name])
        assert weights[name].grad is None
    torch.testing.assert_close(
        ends[0], expected['latents'], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(
        model.pool.rows(), expected['images'], rtol=1e-2, atol=1e-2)


def test_the_generator_stands_still_while_the_copy_learns() -> None:
    model = make_algorithm('FastDFKD', num_generator_steps=3)
    wrappers = optimisers(model)
    before = snapshot(model.generator)
    losses_of = model.inversion_losses
    images = []

    def watched(images_BCHW: Tensor, labels_B: Tensor) -> Any:
        for name, parameter in model.generator.named_parameters():
            assert torch.equal(parameter, before[name])
            assert parameter.grad is None
        images.append(images_BCHW.detach())
        return losses_of(images_BCHW, labels_B)

    model.inversion_losses = watched
    steps = record_gradients(model, wrappers)
    model.train_step(None, wrappers)
    assert [step.network for step in steps] == ['generator', 'student']
    assert [*steps[0].gradients] == ['generator']
    assert [*steps[1].gradients] == ['student']
    assert len(images) == 3
    assert not torch.equal(images[0], images[1])
    assert model.counters.generator_steps == 3


def test_the_copy_minimises_the_papers_sum() -> None:
    images_BCHW = torch.rand(8, 1, 8, 8)
    model = agreeing(make_algorithm('FastDFKD'), images_BCHW).eval()
    labels_B = torch.tensor([0, 1, 2, 3, 4, 4, 0, 1])
    batch = SyntheticBatch(images_BCHW, labels_B)
    losses = model.generator_losses(batch, batch)
    network = model.teacher.network
    teacher_BK = equations.logits(network, images_BCHW)
    student_BK = equations.logits(model.student, images_BCHW)
    assert 0 < (teacher_BK.argmax(1) == student_BK.argmax(1)).sum() < 8
    assert {
        name: value.item()
        for name, value in losses.items()
    } == pytest.approx(
        dict(
            one_hot=0.4 *
            equations.cross_entropy(teacher_BK, labels_B.tolist()),
            bn=10 * equations.bn_distance(
                network, equations.bn_statistics(network, images_BCHW)),
            adversarial=-1.1 * equations.agreed_kl(student_BK, teacher_BK)),
        rel=1e-3)


def test_statistics_are_averaged_with_those_of_syntheses_before() -> None:
    model = make_algorithm('FastDFKD', num_generator_steps=2)
    wrappers = optimisers(model)
    steps: list[tuple[Any, float]] = []
    losses_of = model.inversion_losses

    def watched(images_BCHW: Tensor, labels_B: Tensor) -> Any:
        losses = losses_of(images_BCHW, labels_B)
        steps.append((equations.bn_statistics(model.teacher.network,
                                              images_BCHW.detach()),
                      losses['bn'].item()))
        return losses

    model.inversion_losses = watched
    for _ in range(3):
        model.synthesis(wrappers)
    past: Any = None
    for index, (statistics, got) in enumerate(steps):
        averaged = statistics if past is None else [
            tuple(0.9 * old + 0.1 * new for old, new in zip(before, now))
            for before, now in zip(past, statistics)
        ]
        expected = 10 * equations.bn_distance(model.teacher.network, averaged)
        assert got == pytest.approx(expected, rel=1e-3)
        alone = 10 * equations.bn_distance(model.teacher.network, statistics)
        assert index < 2 or abs(alone - got) > 0.01 * got
        # The past moves on when a synthesis ends, not within it.
        if index % 2 == 1:
            past = averaged


def test_averaged_statistics_leave_a_tenth_of_the_gradient() -> None:
    model = make_algorithm(
        'FastDFKD',
        one_hot_loss=dict(type='OneHotLoss', loss_weight=0.0),
        adversarial_loss=None)
    wrappers = optimisers(model)
    model.synthesis(wrappers)
    images_BCHW = torch.rand(8, 1, 8, 8, requires_grad=True)
    labels_B = torch.zeros(8).long()
    loss = model.inversion_losses(images_BCHW, labels_B)['bn']
    [gradient] = torch.autograd.grad(loss, [images_BCHW])
    assert gradient.abs().max() > 0
    # The past as a constant of the same values, and the batch alone.
    past = [[value.clone() for value in layer]
            for layer in model.past_statistics.state_dict()['past']]
    output = model.teacher(images_BCHW, with_bn=True)
    by_hand = images_BCHW.new_zeros(())
    for layer, (mean_F, variance_F) in zip(output.bn_statistics, past):
        by_hand = by_hand + 10 * (0.9 * mean_F + 0.1 * layer.mean_F -
                                  layer.running_mean_F).norm()
        by_hand = by_hand + 10 * (0.9 * variance_F + 0.1 * layer.variance_F -
                                  layer.running_variance_F).norm()
    [expected] = torch.autograd.grad(by_hand, [images_BCHW])
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-5)


def test_the_first_layer_begins_anew_once() -> None:
    model = make_algorithm('FastDFKD', reset_iteration=2)
    wrappers = optimisers(model)
    starts, ends = [], [snapshot(model.generator)]
    begin = model.begin_synthesis
    model.begin_synthesis = lambda wrapper: (begin(
        wrapper), starts.append(snapshot(model.generator)))
    for _ in range(5):
        model.train_step(None, wrappers)
        ends.append(snapshot(model.generator))
    for iteration, (start, before) in enumerate(zip(starts, ends)):
        changed = {
            name
            for name, value in start.items()
            if not torch.equal(value, before[name])
        }
        assert changed == ({'project.weight', 'project.bias'}
                           if iteration == 2 else set())
    a, b = (
        values['project.weight'].flatten().numpy()
        for values in (starts[2], ends[2]))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.1


def test_the_students_disagreement_alone_moves_the_generator() -> None:
    model = agreeing(
        make_algorithm(
            'FastDFKD',
            one_hot_loss=dict(type='OneHotLoss', loss_weight=0.0),
            bn_loss=dict(type='BNStatisticsLoss', loss_weight=0.0)))
    wrappers = optimisers(model)
    steps = record_gradients(model, wrappers)
    before = snapshot(model.student)
    with frozen(model.student):
        model.synthesis(wrappers)
    assert steps[0].gradients['generator'] > 1e-6
    assert_unchanged(model.student, before)


@pytest.mark.parametrize('changes, message', [
    (dict(meta='both'), "meta must be 'maml' or 'reptile'.*set model.meta"),
    (dict(inner_lr=0.0), 'inner_lr must be .*set model.inner_lr'),
    (dict(reset_iteration=-1),
     'reset_iteration must be .*set model.reset_iteration'),
    (dict(bn_momentum=1.0), 'bn_momentum must be .*set model.bn_momentum'),
])
def test_wrong_values_are_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_algorithm('FastDFKD', **changes)


@pytest.mark.parametrize('changes', [
    dict(),
    dict(meta='reptile', warmup_iterations=1, reset_iteration=2),
])
def test_a_run_that_is_interrupted_goes_on_exactly(changes: dict) -> None:
    # The averaged statistics among all else.
    continues_exactly('FastDFKD', num_steps=2, **changes)


@pytest.mark.parametrize('leaf', [
    'resnet18w16_to_resnet18w8_digits', 'resnet18w16_to_resnet18w8_digits_ta'
])
def test_three_iterations_of_the_digits_config(tiny_teacher_checkpoint: str,
                                               tmp_path: Path,
                                               leaf: str) -> None:
    model, losses = runs_three_iterations(
        'FastDFKD', tiny_teacher_checkpoint, tmp_path, leaf=leaf)
    assert len(model.pool) == model.counters.images_selected
    # The helper's config has one iteration of warm-up.
    assert model.counters.student_steps == 4
    generator = {f'generator_{name}' for name in ('one_hot', 'bn', 'total')}
    assert {*losses[0]} == generator
    for row in losses[1:]:
        assert {*row} == generator | {
            'generator_adversarial', 'student_logits', 'student_total'
        }
