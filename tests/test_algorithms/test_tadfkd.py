"""TA-DFKD's equations, from images and the networks alone."""
import math
from typing import Any

import equations
import numpy as np
import pytest
import torch
from algorithm_helpers import (DIGITS, Iteration, make_algorithm,
                               one_iteration, optimisers)
from torch import Tensor

from tadfkd.networks.freezing import frozen
from tadfkd.structures import SyntheticBatch

HALF = dict(type='KeepEvery', n=2)
SHIFT = dict(type='RandomShift', max_pixels=1)
PRIOR = f'{DIGITS}_basic_prior'


def generator_step(seen: Iteration) -> tuple[Tensor, np.ndarray]:
    """Selected images of the generator step, and the student's logits."""
    [call] = seen.of('student', training=False)
    return call.images_BCHW, call.logits_BK


def image_terms(x: np.ndarray) -> dict[str, float]:
    """The paper's norms of a whole batch of 1024."""
    scale = math.sqrt(1024)
    norms = [np.linalg.norm(image) for image in x]
    return dict(
        l2=6e-3 * scale * np.mean(norms),
        tv=1.5e-5 * scale * equations.total_variation(x))


@pytest.mark.parametrize('leaf', [DIGITS, PRIOR])
def test_both_networks_minimise_the_papers_sums(leaf: str) -> None:
    model = make_algorithm('TADFKD', leaf, selector=HALF)
    seen = one_iteration(model)
    network = model.teacher.network
    # A student step is filled up to a batch, a generator step is not.
    first, second, candidates_BCHW = seen.made
    [call] = seen.of('student', training=True)
    assert call.images_BCHW.equal(torch.cat((first[::2], second[::2])))
    selected_BCHW, student_BK = generator_step(seen)
    assert selected_BCHW.equal(candidates_BCHW[::2])

    teacher_BK = equations.logits(network, selected_BCHW)
    divergence = equations.js(student_BK, teacher_BK, 3)
    assert divergence > 1e-2
    x = equations.normalised(candidates_BCHW).double().numpy()
    terms = dict(
        adversarial=1 - divergence,
        bn=10 * equations.bn_distance(
            network, equations.bn_statistics(network, selected_BCHW)),
        **image_terms(x))
    if leaf == PRIOR:
        # The ablation adds DAFL's prior, of the selected images.
        terms |= equations.class_prior(network, selected_BCHW, 0.05, 5, 0.01)
    answers_BK = equations.logits(network, call.images_BCHW)
    seen.assert_losses(
        generator=terms,
        student=dict(logits=np.abs(call.logits_BK - answers_BK).mean()))


@pytest.mark.parametrize('bn_on', ['augmented', 'plain'])
@pytest.mark.parametrize('image_terms_on', ['normalized', 'unit'])
def test_the_view_of_each_term_is_an_option(bn_on: str,
                                            image_terms_on: str) -> None:
    model = make_algorithm(
        'TADFKD',
        selector=dict(type='SelectAll'),
        augment=SHIFT,
        bn_on=bn_on,
        image_terms_on=image_terms_on)
    seen = one_iteration(model)
    plain_BCHW, (views_BCHW, _) = seen.made[-1], generator_step(seen)
    assert not views_BCHW.equal(plain_BCHW)
    network = model.teacher.network
    of_bn = views_BCHW if bn_on == 'augmented' else plain_BCHW
    assert seen.losses['generator_bn'] == pytest.approx(
        10 * equations.bn_distance(network,
                                   equations.bn_statistics(network, of_bn)),
        rel=1e-3)
    x = views_BCHW if image_terms_on == 'unit' else equations.normalised(
        views_BCHW)
    for name, value in image_terms(x.double().numpy()).items():
        assert seen.losses[f'generator_{name}'] == pytest.approx(
            value, rel=1e-3)


def adversarial_gradient(**changes: Any) -> tuple[Tensor, Any]:
    """That of the images, and the model."""
    torch.manual_seed(0)
    model = make_algorithm(
        'TADFKD', selector=dict(type='SelectAll'), **changes)
    images_BCHW = torch.rand(8, 1, 8, 8, requires_grad=True)
    with model.train_only('generator', optimisers(model)['generator']):
        terms = model.generator_losses(SyntheticBatch(images_BCHW))
    gradient, = torch.autograd.grad(terms['adversarial'], images_BCHW)
    return gradient, model


def test_a_detached_teacher_does_not_drive_the_divergence() -> None:
    through_both, model = adversarial_gradient()
    through_student, _ = adversarial_gradient(detach_teacher=True)
    torch.manual_seed(0)
    make_algorithm('TADFKD', selector=dict(type='SelectAll'))
    images_BCHW = torch.rand(8, 1, 8, 8, requires_grad=True)
    with frozen(model.student):
        divergence = model.adversarial_loss(
            model.student_logits(images_BCHW),
            model.teacher_logits(images_BCHW))
    expected, = torch.autograd.grad(-divergence, images_BCHW)
    torch.testing.assert_close(through_student, expected)
    assert (through_both - expected).norm() > 0.1 * expected.norm()


def test_the_released_student_uses_statistics_of_the_generators_batch(
) -> None:
    in_eval, model = adversarial_gradient()
    assert all(norm.num_batches_tracked == 0
               for norm in equations.batch_norms(model.student))
    in_train, model = adversarial_gradient(
        student_mode_in_generator_step='train')
    assert all(norm.num_batches_tracked == 1
               for norm in equations.batch_norms(model.student))
    cosine = torch.cosine_similarity(in_eval.flatten(), in_train.flatten(), 0)
    assert cosine < 0.9
    # Only the generator step is another.
    assert model.student.training
    assert all(values.requires_grad for values in model.student.parameters())
