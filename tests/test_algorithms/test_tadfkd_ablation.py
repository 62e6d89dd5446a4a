"""TA-DFKD without its selection, and with the prior that it drops."""
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from algorithm_helpers import (balance_of, bn_distance_of, continues_exactly,
                               cross_entropy_of, features_of, js_of, l1_of,
                               make_algorithm, optimisers, record_gradients,
                               record_images, runs_three_iterations, surest)

from tadfkd.structures import SyntheticBatch, TeacherOutput

ALL = dict(type='SelectAll')
PRIOR = dict(
    type='ClassPrior',
    one_hot=0.05,
    balance=5.0,
    activation=0.01,
    log_base='10')
TERMS = {'adversarial', 'bn'}
IMAGE_TERMS = {'l2', 'tv'}
PRIOR_TERMS = {'one_hot', 'balance', 'activation'}
LEAF = 'resnet18w16_to_resnet18w8_digits_basic'


@pytest.mark.parametrize('selector', [ALL, dict(type='GMMSelector')])
def test_the_class_prior_is_added_to_the_papers_sum(selector: dict) -> None:
    model = make_algorithm(
        'TADFKD', selector=selector, class_prior=PRIOR).eval()
    images_BCHW = torch.rand(6, 1, 8, 8)
    kept_BCHW = images_BCHW[:4]
    losses = model.generator_losses(
        SyntheticBatch(images_BCHW), SyntheticBatch(kept_BCHW))
    assert set(losses) == TERMS | PRIOR_TERMS
    logits_BK = model.teacher(kept_BCHW).logits_BK
    expected = dict(
        one_hot=0.05 * cross_entropy_of(logits_BK).mean(),
        balance=5 * balance_of(logits_BK) / math.log(10),
        activation=-0.01 * np.abs(features_of(model, kept_BCHW)).mean(),
        adversarial=1 - js_of(model.student_logits(kept_BCHW), logits_BK, 3.0),
        bn=10 * bn_distance_of(model, kept_BCHW))
    assert {
        name: losses[name].item()
        for name in expected
    } == pytest.approx(
        expected, rel=1e-4)


def test_without_a_prior_there_is_no_such_term_and_nothing_else_changes(
) -> None:
    batch = SyntheticBatch(torch.rand(6, 1, 8, 8))
    losses = []
    for prior in (None, PRIOR):
        torch.manual_seed(1)
        model = make_algorithm(
            'TADFKD', selector=ALL, class_prior=prior).eval()
        losses.append(model.generator_losses(batch, batch))
    without, added = losses
    assert set(without) == TERMS
    assert set(added) == TERMS | PRIOR_TERMS
    assert all(without[name].equal(added[name]) for name in TERMS)


@pytest.mark.parametrize('prior', [None, PRIOR])
def test_without_selection_every_image_enters_both_steps(
        prior: dict | None) -> None:
    model = make_algorithm('TADFKD', selector=ALL, class_prior=prior)
    wrappers = optimisers(model)
    steps = record_gradients(model, wrappers)
    with record_images(model) as calls:
        model.train_step(None, wrappers)
    made = [images for name, images in calls if name == 'generator']
    shown = [images for name, images in calls if name == 'student']
    # No round is refilled, and no pass of the teacher is for a selection.
    assert len(made) == 2
    assert [name for name, _ in calls].count('teacher') == 2
    assert all(images.equal(other) for images, other in zip(made, shown))
    assert model.counters.images_selected == 16
    assert [step.network for step in steps] == ['student', 'generator']
    for step in steps:
        assert set(step.gradients) == {step.network}
        assert step.gradients[step.network] > 0


def test_with_selection_the_prior_is_of_the_selected_images_alone() -> None:
    model = make_algorithm(
        'TADFKD',
        selector=dict(type='TopFractionSelector', fraction=0.5),
        class_prior=PRIOR)
    with record_images(model) as calls:
        losses = model.train_step(None, optimisers(model))
    last_BCHW = [images for name, images in calls if name == 'generator'][-1]
    kept_BCHW = surest(model, last_BCHW, 4)
    of_kept, of_all = (
        0.05 * cross_entropy_of(model.teacher(images_BCHW).logits_BK).mean()
        for images_BCHW in (kept_BCHW, last_BCHW))
    assert of_kept < 0.9 * of_all
    assert losses['generator_one_hot'].item() == pytest.approx(
        of_kept, rel=1e-3)


def test_the_student_minimises_the_mean_difference_of_logits() -> None:
    model = make_algorithm('TADFKD', selector=ALL).eval()
    images_BCHW, target_BK = torch.rand(6, 1, 8, 8), torch.randn(6, 5)
    losses = model.student_losses(images_BCHW, TeacherOutput(target_BK))
    assert set(losses) == {'logits'}
    assert losses['logits'].item() == pytest.approx(
        l1_of(model.student_logits(images_BCHW), target_BK), rel=1e-5)


@pytest.mark.parametrize('leaf, terms', [
    (LEAF, TERMS),
    (f'{LEAF}_prior', TERMS | PRIOR_TERMS),
])
def test_three_iterations_of_the_digits(leaf: str, terms: set[str],
                                        tmp_path: Path,
                                        tiny_teacher_checkpoint: str) -> None:
    model, losses = runs_three_iterations(
        'TADFKD', tiny_teacher_checkpoint, tmp_path, leaf=leaf)
    for row in losses:
        assert {
            name.removeprefix('generator_')
            for name in row if name.startswith('generator_')
        } == terms | IMAGE_TERMS | {'total'}
    assert model.counters.images_selected == model.counters.images_generated
    assert model.counters.images_generated == 8 * (6 + 3)


@pytest.mark.parametrize('prior', [None, PRIOR])
def test_continuing_is_exact(prior: dict | None) -> None:
    continues_exactly(
        'TADFKD',
        selector=ALL,
        class_prior=prior,
        augment=dict(type='RandomCropFlip', padding=1))
