"""AgnosticDFKD against its equations, and the order of a run."""
from typing import Any

import equations
import numpy as np
import pytest
import torch
from algorithm_helpers import (NUM_ITERATIONS, PROCEDURAL, make_algorithm,
                               one_iteration, optimisers, snapshot)
from torch.nn import functional

from tadfkd.errors import UserError
from tadfkd.structures import SyntheticBatch

WEIGHTS = dict(one_hot=1.0, bn=0.3, pixels=2.0, smooth=0.7, adversarial=1.5)


def plain(**changes: Any) -> Any:
    """Without augmentation, so that the equations see what the losses see."""
    model = make_algorithm(
        'AgnosticDFKD',
        **dict(augment=None, synthesis_augment=None, num_further_images=0)
        | changes)
    model.loss_weights.weights = dict(WEIGHTS)
    return model


def at_share(model: Any, share: float) -> None:
    """As if this share of the run were done."""
    model.counters.steps['student'] = round(share * NUM_ITERATIONS)


def kl_of_gaussians(mean: np.ndarray, variance: np.ndarray,
                    other_mean: np.ndarray, other: np.ndarray) -> float:
    return float((np.log(other / variance) - 1 +
                  (variance + (mean - other_mean)**2) / other).mean() / 2)


def synthesis_losses(model: Any, seen: Any) -> dict[str, float]:
    """From the images of the last step of a synthesis."""
    network, images_BCHW = model.teacher.network, seen.made[-1]
    teacher_BK = equations.logits(network, images_BCHW)
    layers = [
        kl_of_gaussians(mean_F, variance_F,
                        layer.running_mean.double().numpy(),
                        layer.running_var.double().numpy())
        for layer, (mean_F, variance_F) in zip(
            equations.batch_norms(network),
            equations.bn_statistics(network, images_BCHW))
    ]
    normalised_BCHW = equations.normalised(images_BCHW)
    pixels = normalised_BCHW.double().numpy()
    pixel_kl = kl_of_gaussians(
        pixels.mean((0, 2, 3)), pixels.var((0, 2, 3)), np.zeros(1), np.ones(1))
    padded = functional.pad(normalised_BCHW.double(), (1, 1, 1, 1),
                            'replicate')
    blur_W = torch.tensor([[0.25, 0.5, 0.25]]).double()
    blurred_BCHW = functional.conv2d(padded, (blur_W.T * blur_W)[None, None])
    return dict(
        one_hot=equations.cross_entropy(teacher_BK, seen.labels()),
        bn=0.3 * float(np.mean(layers)),
        pixels=2 * max(0.0, pixel_kl - 0.1),
        smooth=0.7 * float(
            (normalised_BCHW.double() - blurred_BCHW).square().mean()))


def test_both_networks_minimise_the_sums_of_the_docstring() -> None:
    model = plain()
    scale = float(model.logit_scale)
    at_share(model, 0.1)
    seen = one_iteration(model)
    [student] = seen.of('student', training=True)
    teacher_BK = equations.logits(model.teacher.network, student.images_BCHW)
    centred_BK = teacher_BK - teacher_BK.mean(1, keepdims=True)
    # The last layer's answer, which the scale multiplies.
    student_BK = scale * student.logits_BK
    seen.assert_losses(
        generator=synthesis_losses(model, seen),
        student=dict(
            logits=(np.abs(student_BK - centred_BK).mean() +
                    equations.kl(student_BK, teacher_BK, 4)) / scale))
    assert seen.order == ['generator'] * 2 + ['student']


@pytest.mark.parametrize('share, factor', [(0.25, 0.0), (0.5, 0.5),
                                           (0.75, 1.0), (0.9, 1.0)])
def test_the_adversary_is_the_average_and_rises(share: float,
                                                factor: float) -> None:
    model = plain()
    average = equations.agreeing(model).average
    average.update(model.student, 1.0)
    # The student itself agrees with nobody.
    model.student.head.fc.weight.data.neg_()
    at_share(model, share)
    images_BCHW = torch.rand(20, 1, 8, 8)
    losses = model.inversion_losses(images_BCHW, torch.zeros(20).long())
    if factor == 0:
        assert 'adversarial' not in losses
        return
    student_BK = float(model.logit_scale) * equations.logits(
        average.module, images_BCHW)
    expected = equations.agreed_kl(
        student_BK, equations.logits(model.teacher.network, images_BCHW))
    assert expected > 0.01
    assert losses['adversarial'].item() == pytest.approx(
        -factor * expected, rel=1e-3)


def test_the_student_sees_procedural_images_first_and_a_share_later() -> None:
    model = plain(
        batch_size=8, procedural=PROCEDURAL | dict(alone=0.02, share=0.25))
    wrappers = optimisers(model)
    drawn = {
        image.numpy().tobytes()
        for image in model.procedural.sample(999,
                                             torch.Generator().manual_seed(0))
    }

    def number(seen: Any) -> int:
        [student] = seen.of('student', training=True)
        return sum(image.numpy().tobytes() in drawn
                   for image in student.images_BCHW)

    for _ in range(2):
        seen = one_iteration(model, wrappers)
        assert number(seen) == 8
        assert seen.order == ['student']
        assert len(model.pool) == 0
    for _ in range(2):
        seen = one_iteration(model, wrappers)
        assert number(seen) == 2
        assert seen.order == ['generator'] * 2 + ['student']


def test_the_first_syntheses_fill_the_pool() -> None:
    # The first two iterations have procedural images only.
    model = plain(
        num_first_syntheses=3,
        synthesis_batch_size=10,
        procedural=PROCEDURAL | dict(alone=0.02))
    wrappers = optimisers(model)
    orders = [one_iteration(model, wrappers).order for _ in range(4)]
    assert orders == [['student'],
                      ['student'], ['generator'] * 6 + ['student'],
                      ['generator'] * 2 + ['student']]
    assert model.syntheses == 4


def test_the_rest_has_as_many_of_each_class() -> None:
    model = plain(synthesis_batch_size=2)
    images_BCHW = torch.rand(20, 1, 8, 8)
    # An image that is not finite is left out, and its class too.
    images_BCHW[3] = torch.nan
    labels_B = torch.tensor([0] * 16 + [1, 1, 4, 0])
    model.keep(
        SyntheticBatch(
            images_BCHW,
            teacher_logits_BK=functional.one_hot(labels_B, 5).float()))
    drawn_BCHW = model.pool_images(600)
    counts = [
        int((drawn_BCHW[:, None] == images_BCHW[labels_B == label]).all(
            (2, 3, 4)).sum()) for label in range(5)
    ]
    assert sum(counts) == 600 and counts[2] == counts[3] == 0
    assert min(counts[0], counts[1], counts[4]) > 150


def test_the_first_layer_is_new_in_each_synthesis_and_all_after_an_interval(
) -> None:
    model = plain(reset_interval=3)
    wrappers = optimisers(model, optimizer='Adam')
    for _ in range(5):
        model.train_step(None, wrappers)
        network = model.generator
        before = snapshot(network)
        states = len(wrappers['generator'].optimizer.state)
        model.begin_synthesis(wrappers['generator'])
        changed = {
            name
            for name, value in snapshot(network).items()
            if not value.equal(before[name])
        }
        left = len(wrappers['generator'].optimizer.state)
        # begin_synthesis is called twice per round here.
        if model.syntheses % 3 == 1:
            assert 'upsample.4.weight' in changed and left == 0
        else:
            assert changed == {'project.weight', 'project.bias'}
            assert left == states - 2


def test_a_synthesis_ends_with_images_of_latents_that_it_never_saw() -> None:
    model = plain(num_further_images=15, selector=dict(type='SelectAll'))
    seen = one_iteration(model)
    *steps, further = seen.of('generator')
    assert len(further.images_BCHW) == 15
    # All classes are asked for, and the latents are new.
    assert set(further.inputs[1].tolist()) == set(range(5))
    for step in steps:
        assert not (further.latents_BZ[:, None]
                    == step.latents_BZ).all(2).any()
    rows_NCHW = model.pool.rows()
    assert len(rows_NCHW) == 25 - 1
    assert rows_NCHW[-15:].equal(further.images_BCHW)
    assert model.pool_labels.rows()[:, 0].tolist() == equations.logits(
        model.teacher.network, rows_NCHW).argmax(1).tolist()
    assert model.counters.images_generated == 25


def test_labels_are_balanced() -> None:
    model = plain()
    counts = model.synthesis_labels(23).bincount(minlength=5)
    assert counts.sum() == 23 and counts.min() >= 4


@pytest.mark.parametrize('changes, message', [
    (dict(procedural=None, loss_shares=None, scale_targets=False),
     'AgnosticDFKD needs procedural images: set model.procedural'),
    (dict(num_first_syntheses=0), 'num_first_syntheses'),
    (dict(procedural=None), 'are found on procedural images'),
    (dict(ramp=(0.5, 0.5)), r'ramp must be \(begin, end\)'),
    (dict(reset_interval=0), 'reset_interval'),
    (dict(
        generator=dict(type='NoiseGenerator', image_size=8, image_channels=1)),
     'needs a generator with embedding and project'),
])
def test_wrong_values_are_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_algorithm('AgnosticDFKD', **changes)


def test_where_no_generator_learns_held_out_images_are_procedural() -> None:
    model = plain(procedural=PROCEDURAL | dict(share=1.0, alone=0.0))
    assert one_iteration(model).order == ['student']
    expected_BCHW = model.procedural.draw(
        6, model.streams.fresh('held_out', model.device))
    assert model.synthesize(6).equal(expected_BCHW)
