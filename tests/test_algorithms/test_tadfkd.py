"""TA-DFKD's equations, from the networks' own outputs."""
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from tiny_networks import classifier
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.registry import MODELS
from tadfkd.structures import SyntheticBatch, TeacherOutput


def softmax(logits_BK: np.ndarray) -> np.ndarray:
    """Row by row."""
    exponentials = np.exp(logits_BK - logits_BK.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def js_divergence(student_BK: Tensor, teacher_BK: Tensor) -> float:
    """At temperature 3, mean over samples."""
    p = softmax(student_BK.detach().double().numpy() / 3)
    q = softmax(teacher_BK.detach().double().numpy() / 3)
    m = (p + q) / 2
    rows = (p * np.log(p / m) + q * np.log(q / m)).sum(1) / 2
    return float(rows.mean())


def test_the_generator_minimises_the_papers_sum(make_model: Callable) -> None:
    model = make_model().eval()
    torch.nn.init.normal_(model.student.head.fc.weight)
    images_BCHW = torch.rand(6, 1, 8, 8)
    candidates = SyntheticBatch(images_BCHW)
    selected = SyntheticBatch(images_BCHW[:4])
    losses = model.generator_losses(
        candidates, selected) | model.candidate_losses(candidates)

    output = model.teacher(images_BCHW[:4], with_bn=True)
    divergence = js_divergence(
        model.student_logits(images_BCHW[:4]), output.logits_BK)
    assert divergence > 1e-3
    assert losses['adversarial'].item() == pytest.approx(1 - divergence)
    bn = sum(
        float(np.linalg.norm(a.numpy() - b.numpy()))
        for layer in output.bn_statistics
        for a, b in ((layer.mean_F, layer.running_mean_F),
                     (layer.variance_F, layer.running_variance_F)))
    assert losses['bn'].item() == pytest.approx(10 * bn, rel=1e-5)

    x = (images_BCHW.double().numpy() - 0.5) / 0.25
    norms = [np.linalg.norm(image) for image in x]
    assert losses['l2'].item() == pytest.approx(
        6e-3 * math.sqrt(1024) * np.mean(norms), rel=1e-5)
    differences = (x[..., :-1] - x[..., 1:], x[..., :-1, :] - x[..., 1:, :],
                   x[..., :-1, :-1] - x[..., 1:, 1:],
                   x[..., 1:, :-1] - x[..., :-1, 1:])
    tv = sum(
        np.mean([np.linalg.norm(image) for image in difference])
        for difference in differences)
    assert losses['tv'].item() == pytest.approx(
        1.5e-5 * math.sqrt(1024) * tv, rel=1e-5)
    assert set(losses) == {'adversarial', 'bn', 'l2', 'tv'}


def test_the_student_minimises_the_mean_difference_of_logits(
        make_model: Callable) -> None:
    model = make_model().eval()
    images_BCHW, teacher_BK = torch.rand(4, 1, 8, 8), torch.randn(4, 5)
    losses = model.student_losses(images_BCHW, TeacherOutput(teacher_BK))
    student_BK = model.student_logits(images_BCHW).detach()
    expected = np.abs(student_BK.numpy() - teacher_BK.numpy()).mean()
    assert losses['logits'].item() == pytest.approx(expected)
    assert set(losses) == {'logits'}


def test_a_student_that_agrees_less_lowers_the_generators_loss(
        make_model: Callable) -> None:
    model = make_model().eval()
    batch = SyntheticBatch(torch.rand(6, 1, 8, 8))
    model.student.load_state_dict(model.teacher.network.state_dict())
    same = model.generator_losses(batch, batch)['adversarial'].item()
    torch.nn.init.normal_(model.student.head.fc.weight, std=50)
    other = model.generator_losses(batch, batch)['adversarial'].item()
    assert same == pytest.approx(1)
    assert other < same - 0.01


def test_the_view_of_each_term_is_an_option(make_model: Callable) -> None:
    plain_BCHW, augmented_BCHW = torch.rand(2, 6, 1, 8, 8)
    batch = SyntheticBatch(plain_BCHW, augmented_BCHW=augmented_BCHW)
    torch.manual_seed(1)
    default = make_model().eval()
    torch.manual_seed(1)
    other = make_model(bn_on='plain', image_terms_on='unit').eval()
    bn_loss = MODELS.build(dict(type='BNStatisticsLoss', loss_weight=10.0))
    for model, view in ((default, augmented_BCHW), (other, plain_BCHW)):
        losses = model.generator_losses(batch, batch)
        statistics = model.teacher(view, with_bn=True).bn_statistics
        torch.testing.assert_close(losses['bn'], bn_loss(statistics))
    norm = augmented_BCHW.flatten(1).norm(dim=1).mean()
    losses = other.candidate_losses(batch)
    torch.testing.assert_close(losses['l2'], 0.192 * norm)


@pytest.mark.parametrize('field', ['bn_on', 'image_terms_on'])
def test_an_unknown_view_is_refused(make_model: Callable, field: str) -> None:
    with pytest.raises(UserError, match=f'{field} must be .*model.{field}'):
        make_model(**{field: 'none'})


def test_image_terms_do_not_depend_on_the_teachers_size(
        make_model: Callable) -> None:
    batch = SyntheticBatch(torch.rand(6, 1, 8, 8))
    losses = []
    for input_size in (8, 16):
        torch.manual_seed(1)
        model = make_model(
            teacher=dict(
                type='MMPretrainTeacher',
                model=classifier(),
                input_size=input_size,
                allow_random_weights=True)).eval()
        losses.append(
            model.generator_losses(batch, batch)
            | model.candidate_losses(batch))
    assert losses[0]['l2'].equal(losses[1]['l2'])
    assert losses[0]['tv'].equal(losses[1]['tv'])
    assert not losses[0]['bn'].equal(losses[1]['bn'])


def test_a_teacher_without_batch_norm_has_no_such_term(
        make_model: Callable) -> None:
    teacher = classifier()
    teacher['backbone']['norm_cfg'] = dict(type='GN', num_groups=2)
    model = make_model(
        teacher=dict(
            type='MMPretrainTeacher',
            model=teacher,
            input_size=8,
            allow_random_weights=True)).eval()
    batch = SyntheticBatch(torch.rand(6, 1, 8, 8))
    assert set(model.generator_losses(batch, batch)) == {'adversarial'}
    assert set(model.candidate_losses(batch)) == {'l2', 'tv'}
