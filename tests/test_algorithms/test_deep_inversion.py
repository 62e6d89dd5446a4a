"""DeepInversion and ADI: pixels that are trained, and what trains them."""
import math
from pathlib import Path
from typing import Any

import equations
import numpy as np
import pytest
import torch
from algorithm_helpers import (continues_exactly, count_forwards,
                               gradient_norm, make_algorithm, optimisers,
                               record_gradients, runs_three_iterations,
                               snapshot)
from mmengine.optim import OptimWrapperDict
from torch import Tensor

from tadfkd.engine import PerNetworkConstructor
from tadfkd.errors import UserError
from tadfkd.networks.freezing import frozen
from tadfkd.structures import SyntheticBatch

BOTH = pytest.mark.parametrize('type', ['DeepInversion', 'ADI'])


def with_adam(model: Any) -> OptimWrapperDict:
    """Optimisers that remember, as those of the configs do."""
    return PerNetworkConstructor({
        name:
        dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=0.1))
        for name in model.trained_networks
    })(
        model)


def watch_steps(model: Any) -> list[tuple[Tensor, Tensor, float]]:
    """Filled with images, the teacher's view and the loss of each step."""
    steps: list[tuple[Tensor, Tensor, float]] = []
    views: list[Tensor] = []
    model.teacher.register_forward_pre_hook(
        lambda _, inputs: views.append(inputs[0].detach().clone()))
    losses_of = model.inversion_losses

    def watched(images_BCHW: Tensor, labels_B: Tensor) -> Any:
        losses = losses_of(images_BCHW, labels_B)
        steps.append((images_BCHW.detach().clone(), views[-1],
                      sum(value.item() for value in losses.values())))
        return losses

    model.inversion_losses = watched
    return steps


@BOTH
def test_the_pixels_minimise_the_papers_sum(type: str) -> None:
    model = make_algorithm(type).eval()
    images_BCHW, views_BCHW = torch.rand(2, 6, 1, 8, 8)
    labels_B = torch.tensor([0, 1, 2, 3, 4, 4])
    batch = SyntheticBatch(images_BCHW, labels_B, views_BCHW)
    losses = model.generator_losses(batch, batch)

    network = model.teacher.network
    teacher_BK = equations.logits(network, views_BCHW)
    expected = dict(
        one_hot=equations.cross_entropy(teacher_BK, labels_B.tolist()),
        bn=10 * equations.bn_distance(
            network, equations.bn_statistics(network, views_BCHW)),
        tv=4e-4 * equations.total_variation(
            equations.normalised(views_BCHW).double().numpy()))
    if type == 'ADI':
        divergence = equations.js(
            equations.logits(model.student, views_BCHW), teacher_BK, 3)
        assert divergence > 1e-2
        expected['adversarial'] = -divergence
    assert {
        name: value.item()
        for name, value in losses.items()
    } == pytest.approx(
        expected, rel=1e-4)


def test_the_weight_of_smoothness_is_the_papers_for_its_batch() -> None:
    # arXiv 1912.08795: 2.5e-5 times norms over a batch of 256 images.
    model = make_algorithm('DeepInversion').eval()
    image_BCHW = torch.rand(1, 1, 8, 8)
    images_BCHW = image_BCHW.expand(256, -1, -1, -1)
    batch = SyntheticBatch(images_BCHW, torch.zeros(256).long())
    x = equations.normalised(image_BCHW).double().numpy()[0, 0]
    size = 8
    total = 0.0
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        squares = [(x[i, j] - x[i + down, j + right])**2
                   for i in range(size - down) for j in range(size)
                   if 0 <= j + right < size]
        total += math.sqrt(256 * sum(squares))
    got = model.generator_losses(batch, batch)['tv'].item()
    assert got == pytest.approx(2.5e-5 * total, rel=1e-4)


@BOTH
def test_each_synthesis_begins_at_new_noise_with_a_new_optimiser(
        type: str) -> None:
    model = make_algorithm(
        type,
        generator=dict(
            type='PixelGenerator',
            batch_size=8,
            image_size=24,
            image_channels=1),
        num_generator_steps=3)
    wrappers = with_adam(model)
    beginnings, states = [], []
    begin = model.begin_synthesis

    def watched(wrapper: Any) -> None:
        begin(wrapper)
        beginnings.append(model.generator.variables_BCHW.detach().clone())
        states.append(len(wrapper.optimizer.state))

    model.begin_synthesis = watched
    ends = []
    for _ in range(2):
        model.synthesis(wrappers)
        ends.append(model.generator.variables_BCHW.detach().clone())
        assert len(wrappers['generator'].optimizer.state) == 1
    assert states == [0, 0]
    first, second = (noise.flatten().double().numpy() for noise in beginnings)
    for noise in (first, second):
        # 4608 numbers: three standard errors and more.
        assert abs(noise.mean()) < 0.05
        assert abs(noise.std() - 1) < 0.04
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05
    end = ends[0].flatten().double().numpy()
    assert abs(np.corrcoef(first, end)[0, 1]) > 0.9
    assert abs(np.corrcoef(second, end)[0, 1]) < 0.05


@BOTH
def test_the_images_of_the_lowest_loss_go_into_the_pool(type: str) -> None:
    model = make_algorithm(type, num_generator_steps=4)
    # One that lets neither the first nor the last step win.
    further = iter([0, -9e3, -5e3, 9, 5e3, 1e6, -9e3, torch.nan])
    terms_of = model.extra_losses
    model.extra_losses = lambda *inputs: terms_of(*inputs) | dict(
        rigged=torch.tensor(next(further)))
    steps = watch_steps(model)
    wrappers = optimisers(model, lr=0.01)
    for _ in range(2):
        model.synthesis(wrappers)
    expected_BCHW = torch.cat((steps[1][0], steps[6][0]))
    assert torch.equal(model.pool.rows(), expected_BCHW)
    assert expected_BCHW.min() >= 0 and expected_BCHW.max() <= 1
    assert not torch.equal(steps[0][0], steps[1][0])


@BOTH
def test_views_are_shifted_by_at_most_two_pixels(type: str) -> None:
    model = make_algorithm(type, num_generator_steps=8)
    steps = watch_steps(model)
    model.synthesis(optimisers(model))
    shifts = []
    for images_BCHW, views_BCHW, _ in steps:
        for image_CHW, view_CHW in zip(images_BCHW.numpy(),
                                       views_BCHW.numpy()):
            [shift] = [(down, right) for down in range(-4, 4)
                       for right in range(-4, 4) if np.array_equal(
                           np.roll(image_CHW, (down, right), (1, 2)), view_CHW)
                       ]
            shifts.append(shift)
    assert len(shifts) == 64
    assert {down for down, _ in shifts} == {-2, -1, 0, 1, 2}
    assert {right for _, right in shifts} == {-2, -1, 0, 1, 2}
    # Each sample has its own.
    assert len(set(shifts[:8])) > 3


def test_a_step_moves_the_pixels_along_their_gradient() -> None:
    model = make_algorithm(
        'DeepInversion', num_generator_steps=1, synthesis_augment=None)
    labels = []
    losses_of = model.inversion_losses
    model.inversion_losses = lambda images_BCHW, labels_B: (labels.append(
        labels_B), losses_of(images_BCHW, labels_B))[1]
    starts = []
    begin = model.begin_synthesis
    model.begin_synthesis = lambda wrapper: (begin(
        wrapper), starts.append(snapshot(model.generator)['variables_BCHW']))
    model.synthesis(optimisers(model, lr=0.5))

    variables_BCHW = starts[0].clamp(-2, 2).requires_grad_()
    x = 2 * (0.5 + 0.25 * variables_BCHW) - 1
    network = model.teacher.network
    inputs: list[tuple[Any, Tensor]] = []
    for layer in equations.batch_norms(network):
        layer.register_forward_pre_hook(lambda layer, args: inputs.append(
            (layer, args[0])))
    # The tiny classifiers' deviation is half of their mean.
    loss = torch.nn.functional.cross_entropy(
        network(2 * x, mode='tensor'), labels[0])
    for layer, map_ in inputs:
        variance_F, mean_F = torch.var_mean(map_, (0, 2, 3), unbiased=False)
        loss = loss + 10 * (mean_F - layer.running_mean).norm() \
            + 10 * (variance_F - layer.running_var).norm()
    y = 2 * x
    for difference in (y[..., :-1] - y[..., 1:],
                       y[..., :-1, :] - y[..., 1:, :],
                       y[..., :-1, :-1] - y[..., 1:, 1:],
                       y[..., 1:, :-1] - y[..., :-1, 1:]):
        loss = loss + 4e-4 * difference.flatten(1).norm(dim=1).mean()
    [gradient] = torch.autograd.grad(loss, [variables_BCHW])
    assert gradient.abs().max() > 0
    torch.testing.assert_close(model.generator.variables_BCHW.detach(),
                               variables_BCHW.detach() - 0.5 * gradient)


def test_deep_inversion_leaves_the_student_out_of_a_synthesis() -> None:
    sizes = {}
    for type in ('DeepInversion', 'ADI'):
        model = make_algorithm(type)
        with count_forwards(model) as counted, frozen(model.student):
            losses = model.synthesis(optimisers(model))
        sizes[type] = counted['student']
        assert ('adversarial' in losses) == (type == 'ADI')
    assert sizes == dict(DeepInversion=[], ADI=[8, 8])


def test_the_students_disagreement_alone_moves_the_pixels() -> None:
    model = make_algorithm(
        'ADI',
        one_hot_loss=dict(type='OneHotLoss', loss_weight=0.0),
        bn_loss=dict(type='BNStatisticsLoss', loss_weight=0.0),
        tv_loss=dict(type='TotalVariationLoss', loss_weight=0.0))
    wrappers = optimisers(model)
    steps = record_gradients(model, wrappers)
    with frozen(model.student):
        model.synthesis(wrappers)
    assert [step.network for step in steps] == ['generator'] * 2
    for step in steps:
        assert [*step.gradients] == ['generator']
        assert step.gradients['generator'] > 1e-6
    assert gradient_norm(model.student) == 0


@BOTH
def test_held_out_images_are_noise_and_then_those_of_the_pool(
        type: str) -> None:
    model = make_algorithm(type)
    noise_BCHW = model.synthesize(40)
    assert noise_BCHW.shape == (40, 1, 8, 8)
    assert 0 <= noise_BCHW.min() and noise_BCHW.max() <= 1
    assert abs(noise_BCHW.mean() - 0.5) < 0.05
    assert torch.equal(model.synthesize(40), noise_BCHW)
    model.train_step(None, optimisers(model))
    before = model.training_state()['streams']
    images_BCHW = model.synthesize(40)
    assert torch.equal(model.synthesize(40), images_BCHW)
    rows = {row.numpy().tobytes() for row in model.pool.rows()}
    drawn = {image.numpy().tobytes() for image in images_BCHW}
    # Each of eight is missing from 40 draws once in 200.
    assert drawn <= rows and len(drawn) > 5
    after = model.training_state()['streams']
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@BOTH
def test_a_run_that_is_interrupted_goes_on_exactly(type: str) -> None:
    continues_exactly(type, num_steps=2)


@BOTH
def test_three_iterations_of_the_digits_config(type: str,
                                               tiny_teacher_checkpoint: str,
                                               tmp_path: Path) -> None:
    model, losses = runs_three_iterations(type, tiny_teacher_checkpoint,
                                          tmp_path)
    # Eight images a synthesis.
    assert len(model.pool) == 24
    names = {'one_hot', 'bn', 'tv', 'total'}
    if type == 'ADI':
        names.add('adversarial')
    for row in losses:
        assert {*row
                } == {f'generator_{name}'
                      for name in names} | {'student_logits', 'student_total'}


def test_a_generator_with_too_few_pixels_names_the_field() -> None:
    with pytest.raises(
            UserError,
            match='PixelGenerator with batch_size >= 9.*set '
            'model.generator.batch_size'):
        make_algorithm('DeepInversion', synthesis_batch_size=9)
    with pytest.raises(UserError, match='must be a PixelGenerator'):
        make_algorithm(
            'ADI',
            generator=dict(
                type='UpsamplingGenerator',
                latent_size=6,
                image_size=8,
                image_channels=1,
                width=4))
