"""SpaceshipNet: features that are exchanged, and maps that are compared."""
from typing import Any

import equations
import numpy as np
import pytest
import torch
from algorithm_helpers import as_set, make_algorithm, one_iteration, optimisers
from torch import Tensor


def generator_layers(generator: Any, values: Tensor,
                     start: int) -> list[Tensor]:
    """What the generator's layers make, one by one, from ``start`` on."""
    made = []
    for layer in [*generator.upsample][start:]:
        values = layer(values)
        made.append(values.detach())
    return made


def record_decode(model: Any) -> list[tuple[Tensor, int]]:
    """Filled with the features and the layer that images are made from."""
    decoded: list[tuple[Tensor, int]] = []
    decode = model.generator.decode
    model.generator.decode = lambda features, start=0: (decoded.append(
        (features, start)), decode(features, start))[1]
    return decoded


def grad_cams(network: Any, images_BCHW: Tensor,
              classes_B: np.ndarray) -> list[np.ndarray]:
    """Of each stage of a ResNet, for one class per image, not rectified."""
    maps: list[Tensor] = []

    def keep(*call: Any) -> None:
        call[-1].retain_grad()
        maps.append(call[-1])

    handles = [
        getattr(network.backbone, f'layer{stage}').register_forward_hook(keep)
        for stage in (1, 2, 3, 4)
    ]
    logits_BK = network(
        equations.normalised(images_BCHW).requires_grad_(), mode='tensor')
    for handle in handles:
        handle.remove()
    logits_BK[range(len(classes_B)), classes_B].sum().backward()
    network.zero_grad()
    assert all(map_.grad is not None for map_ in maps)
    return [(map_.detach().double().numpy() * map_.grad.double().numpy().mean(
        (2, 3), keepdims=True)).sum(1) for map_ in maps]


def test_both_networks_minimise_the_papers_sums() -> None:
    model = make_algorithm('SpaceshipNet')
    # The class is the teacher's, whatever the student's is.
    model.student.head.fc.bias.data[3] += 9
    # Without a step, so that the student's maps can be computed again.
    seen = one_iteration(model, optimisers(model, lr=0.0))
    network, images_BCHW = model.teacher.network, seen.made[-1]
    generator = dict(
        one_hot=0.5 * equations.cross_entropy(
            equations.logits(network, images_BCHW), seen.labels()),
        bn=equations.bn_distance(network,
                                 equations.bn_statistics(network,
                                                         images_BCHW)))

    [call] = seen.of('student')
    images_BCHW, student_BK = call.images_BCHW, call.logits_BK
    teacher_BK = equations.logits(network, images_BCHW)
    # The last map of each resolution is a stage's output.
    classes_B = teacher_BK.argmax(1)
    assert (classes_B != student_BK.argmax(1)).any()
    student_cams, teacher_cams = (
        grad_cams(classifier, images_BCHW, classes_B)
        for classifier in (model.student, network))
    assert [cam_BHW.shape[-1] for cam_BHW in teacher_cams] == [16, 8, 4, 2]
    mine, others = (
        np.einsum('bchw,kc->bkhw',
                  equations.stage_outputs(classifier, images_BCHW, [4])[0],
                  classifier.head.fc.weight.detach().double().numpy())
        for classifier in (model.student, network))
    seen.assert_losses(
        generator=generator,
        student=dict(
            logits=equations.kl(student_BK, teacher_BK, 30) / 5,
            activation=((mine - others)**2).mean(),
            grad_cam=sum(((a - b)**2).mean()
                         for a, b in zip(student_cams, teacher_cams))))


def test_the_features_of_each_synthesis_are_kept() -> None:
    model = make_algorithm(
        'SpaceshipNet',
        bank_capacity=20,
        num_generator_steps=1,
        latent_lr=0.0,
        exchange_share=0.0)
    expected: list[list[Tensor]] = [[], [], []]
    # Without a step, so that the features can be computed again.
    wrappers = optimisers(model, lr=0.0)
    for _ in range(3):
        [latents_BZ] = one_iteration(model, wrappers).latents()
        made = generator_layers(model.generator,
                                model.generator.project(latents_BZ), 0)
        # After the first, second and third activation.
        for kept, layer in zip(expected, (2, 6, 10)):
            kept.append(made[layer])
    for bank, kept in zip(model.banks, expected):
        torch.testing.assert_close(bank.rows(), torch.cat(kept)[-20:])


@pytest.mark.parametrize('probability', [0.0, 0.7, 1.0])
def test_each_channel_comes_from_one_of_two_kept_images(
        probability: float) -> None:
    model = make_algorithm(
        'SpaceshipNet',
        exchange_probability=probability,
        exchange_share=1.0,
        num_student_steps=60)
    pairs: list[Tensor] = []
    for bank in model.banks:
        sample = bank.sample
        bank.sample = lambda size, stream, sample=sample: (pairs.append(
            sample(size, stream)), pairs[-1])[1]
    decoded = record_decode(model)
    model.train_step(None, optimisers(model, lr=0.0))
    starts = [start for _, start in decoded[-60:]]
    assert min(starts.count(start) for start in (3, 7, 11)) > 8
    from_other = from_either = 0
    for (features, _), own, other in zip(
            decoded[-60:], pairs[::2], pairs[1::2], strict=True):
        for feature, mine, theirs in zip(
                features.flatten(0, 1), own.flatten(0, 1), other.flatten(0,
                                                                         1)):
            if not torch.equal(mine, theirs):
                from_either += 1
                from_other += torch.equal(feature, theirs)
                assert torch.equal(feature, mine) or torch.equal(
                    feature, theirs)
    assert from_either > 1000
    # Three standard errors.
    assert abs(from_other / from_either - probability) < 0.045


@pytest.mark.parametrize('share, num_made', [(0.0, 0), (0.5, 4), (1.0, 8)])
def test_a_students_batch_has_its_share_of_exchanged_images(
        share: float, num_made: int) -> None:
    model = make_algorithm('SpaceshipNet', exchange_share=share)
    decoded = record_decode(model)
    seen = one_iteration(model)
    [call] = seen.of('student')
    assert model.counters.images_generated == 8 + num_made
    assert as_set(call.images_BCHW[num_made:]) <= as_set(model.pool.rows())
    if num_made:
        # The layers above go on from the exchanged features.
        features, start = decoded[-1]
        expected_BCHW = generator_layers(model.generator, features,
                                         start)[-1].sigmoid()
        torch.testing.assert_close(call.images_BCHW[:num_made], expected_BCHW)


def test_exchanged_images_pass_the_selector() -> None:
    model = make_algorithm(
        'SpaceshipNet', selector=dict(type='KeepEvery', n=4))
    [call] = one_iteration(model).of('student')
    # Two of eight, and one of four exchanged images.
    assert model.counters.images_selected == 3
    rows = as_set(model.pool.rows())
    stored = [bool(as_set(image[None]) & rows) for image in call.images_BCHW]
    assert stored == [False] + [True] * 7
