"""Fast-DFKD: the copy's steps, and what the generator makes of them."""
import copy
from typing import Any

import equations
import numpy as np
import pytest
import torch
from algorithm_helpers import (CONFIGS, Iteration, make_algorithm,
                               one_iteration, optimisers, snapshot)
from torch import Tensor, nn

from tadfkd.apis import load_config


def plain_loss(model: Any, images_BCHW: Tensor, labels_B: Tensor) -> Tensor:
    """0.4 CE + 10 BN - 1.1 KL where both agree, with the graph."""
    x = (255 * images_BCHW - 127.5) / 63.75
    with equations.recorded_inputs(model.teacher.network) as inputs:
        teacher_BK = model.teacher.network(x, mode='tensor')
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


def inner_loop(model: Any, generator: nn.Module, latents_BZ: Tensor,
               labels_B: Tensor, num_steps: int) -> dict[str, Any]:
    """Train a plain copy by torch's Adam; sum the gradients of its steps."""
    latents_BZ = latents_BZ.clone().requires_grad_()
    optimizer = torch.optim.Adam([
        dict(params=[*generator.parameters()], lr=2e-3),
        dict(params=[latents_BZ], lr=1e-2)
    ],
                                 betas=(0.5, 0.999))
    summed = {
        name: torch.zeros_like(parameter)
        for name, parameter in generator.named_parameters()
    }
    images, losses, latents = [], [], []
    for _ in range(num_steps):
        latents.append(latents_BZ.detach().clone())
        images_BCHW = generator(latents_BZ)
        loss = plain_loss(model, images_BCHW, labels_B)
        optimizer.zero_grad()
        loss.backward()
        for name, parameter in generator.named_parameters():
            summed[name] += parameter.grad
        optimizer.step()
        images.append(images_BCHW.detach())
        losses.append(loss.item())
    return dict(
        summed=summed, latents=latents, images=images[int(np.argmin(losses))])


@pytest.mark.parametrize('meta', ['maml', 'reptile'])
def test_the_meta_step_is_that_of_a_plain_loop(meta: str) -> None:
    model = equations.agreeing(
        make_algorithm('FastDFKD', meta=meta, num_generator_steps=4))
    generator, before = copy.deepcopy(model.generator), snapshot(
        model.generator)
    wrappers = optimisers(model, lr=0.5)
    frozen_student = copy.deepcopy(model.student).eval()
    seen = one_iteration(model, wrappers)
    model.student = frozen_student
    labels_B = torch.tensor(seen.labels())
    expected = inner_loop(model, generator, seen.latents()[0], labels_B, 4)
    assert seen.order == ['generator', 'student']

    for name, learned in generator.named_parameters():
        gradient = expected['summed'][name] if meta == 'maml' \
            else before[name] - learned.detach()
        got = (before[name] - model.generator.get_parameter(name)) / 0.5
        # In front of a batch norm, a bias has no gradient but round-off.
        if name not in ('project.bias', 'upsample.4.bias', 'upsample.8.bias'):
            assert gradient.norm() > 1e-5, name
            assert (got - gradient).norm() < 0.02 * gradient.norm(), name
    for got, latents_BZ in zip(seen.latents(), expected['latents']):
        torch.testing.assert_close(got, latents_BZ, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(
        model.pool.rows(), expected['images'], rtol=1e-2, atol=1e-2)


def bn_of(model: Any, seen: Iteration, past: Any) -> tuple[float, Any]:
    """The term of the last step of a synthesis, and the averages."""
    network = model.teacher.network
    averaged = equations.bn_statistics(network, seen.made[-1])
    if past is not None:
        averaged = [
            tuple(0.9 * old + 0.1 * new for old, new in zip(before, now))
            for before, now in zip(past, averaged)
        ]
    return 10 * equations.bn_distance(network, averaged), averaged


def test_the_copy_minimises_the_papers_sum() -> None:
    model = make_algorithm('FastDFKD', batch_size=16)
    equations.agreeing(model)
    network, past = model.teacher.network, None
    wrappers = optimisers(model)
    for _ in range(3):
        seen = one_iteration(model, wrappers)
        images_BCHW = seen.made[-1]
        teacher_BK = equations.logits(network, images_BCHW)
        # Averaged with the statistics of syntheses before, not of steps.
        bn, past = bn_of(model, seen, past)
        call = seen.of('student', training=False)[-1]
        [student] = seen.of('student', training=True)
        seen.assert_losses(
            generator=dict(
                one_hot=0.4 *
                equations.cross_entropy(teacher_BK, seen.labels()),
                bn=bn,
                adversarial=-1.1 *
                equations.agreed_kl(call.logits_BK, teacher_BK)),
            student=dict(
                logits=equations.kl(
                    student.logits_BK,
                    equations.logits(network, student.images_BCHW), 20)))


def test_the_first_layers_begin_anew_once_as_released() -> None:
    model = make_algorithm('FastDFKD', reset_iteration=1)
    with torch.no_grad():
        model.generator.first_norm.bias.fill_(1)
    wrappers = optimisers(model, lr=0.0)
    changed = []
    for _ in range(3):
        before = snapshot(model.generator)
        model.train_step(None, wrappers)
        changed.append([
            name for name, value in model.generator.named_parameters()
            if not value.equal(before[name])
        ])
    assert changed == [[],
                       [
                           'project.weight', 'project.bias',
                           'upsample.1.weight', 'upsample.1.bias'
                       ], []]
    # entry fast.first_layer of zju-vipa/Fast-Datafree 0dcecbc: the weights of
    # the batch norm are about 0, not 1.
    for layer in (model.generator.project, model.generator.first_norm):
        assert abs(layer.weight.mean()) < 0.01
        assert 0.015 < layer.weight.std() < 0.025
        assert layer.bias.eq(0).all()


def test_the_shipped_reset_is_at_the_140th_synthesis() -> None:
    model = load_config(CONFIGS / 'fastdfkd' /
                        'resnet34_to_resnet18_cifar10.py').model
    # Iterations before it.
    assert model.reset_iteration + 1 == 140 == model.warmup_iterations + 120


def test_the_student_stays_out_of_the_warm_up() -> None:
    model = make_algorithm('FastDFKD', warmup_iterations=2)
    wrappers = optimisers(model)
    orders = []
    for _ in range(3):
        seen = one_iteration(model, wrappers)
        orders.append(seen.order)
        learns = 'student' in seen.order
        assert bool(seen.of('student')) == learns
        assert ('generator_adversarial' in seen.losses) == learns
    assert orders == [['generator'], ['generator'], ['generator', 'student']]
    assert len(model.pool) == 24
