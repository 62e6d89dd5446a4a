"""SpaceshipNet: features that are exchanged, and maps that are compared."""
from pathlib import Path
from typing import Any

import equations
import numpy as np
import pytest
import torch
from algorithm_helpers import (assert_unchanged, continues_exactly,
                               make_algorithm, optimisers, record_gradients,
                               runs_three_iterations, snapshot)
from tiny_networks import classifier
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.structures import SyntheticBatch


def generator_layers(generator: Any, values: Tensor,
                     start: int) -> list[Tensor]:
    """What the generator's layers make, one by one, from ``start`` on."""
    made = []
    for layer in [*generator.upsample][start:]:
        values = layer(values)
        made.append(values)
    return made


def test_the_generator_minimises_the_papers_sum() -> None:
    model = make_algorithm('SpaceshipNet').eval()
    images_BCHW = torch.rand(6, 1, 16, 16)
    labels_B = torch.tensor([0, 1, 2, 3, 4, 4])
    batch = SyntheticBatch(images_BCHW, labels_B)
    losses = model.generator_losses(batch, batch)
    network = model.teacher.network
    assert {
        name: value.item()
        for name, value in losses.items()
    } == pytest.approx(
        dict(
            one_hot=0.5 * equations.cross_entropy(
                equations.logits(network, images_BCHW), labels_B.tolist()),
            bn=equations.bn_distance(
                network, equations.bn_statistics(network, images_BCHW))),
        rel=1e-3)


def test_the_student_minimises_the_papers_sum() -> None:
    model = make_algorithm('SpaceshipNet').eval()
    # The rows are those of the teacher's class, whatever the student's is.
    model.student.head.fc.bias.data[3] += 9
    images_BCHW = torch.rand(6, 1, 16, 16)
    target = model.teacher(images_BCHW, maps_at=model.stage_maps.teacher)
    losses = model.student_losses(images_BCHW, target)

    teacher, student = model.teacher.network, model.student
    outputs: dict[str, Any] = {}
    for name, network in (('teacher', teacher), ('student', student)):
        # The last map of each resolution is a stage's output.
        stages = [
            getattr(network.backbone, f'layer{index}')
            for index in (1, 2, 3, 4)
        ]
        maps: list[np.ndarray] = []
        handles = [
            stage.register_forward_hook(lambda *inputs, maps=maps: maps.append(
                inputs[-1].detach().double().numpy())) for stage in stages
        ]
        outputs[name] = (equations.logits(network, images_BCHW), maps)
        for handle in handles:
            handle.remove()
    (teacher_BK, teacher_maps), (student_BK,
                                 student_maps) = (outputs['teacher'],
                                                  outputs['student'])
    assert [map_.shape[2:] for map_ in teacher_maps] == [(16, 16), (8, 8),
                                                         (4, 4), (2, 2)]
    attention = 0.0
    for a, b in zip(student_maps, teacher_maps):
        attention += float(((equations.unit((a**2).mean(1)) - equations.unit(
            (b**2).mean(1)))**2).mean())
    classes_B = teacher_BK.argmax(1)
    assert (classes_B != student_BK.argmax(1)).any()
    activations = []
    for network, maps in ((student, student_maps), (teacher, teacher_maps)):
        rows_KC = network.head.fc.weight.detach().double().numpy()
        by_class = np.stack([
            sum(rows_KC[class_, channel] * map_[channel]
                for channel in range(map_.shape[0]))
            for map_, class_ in zip(maps[-1], classes_B)
        ])
        activations.append(equations.unit(by_class))
    activation = float(((activations[0] - activations[1])**2).mean())
    assert {
        name: value.item()
        for name, value in losses.items()
    } == pytest.approx(
        dict(
            logits=equations.kl(student_BK, teacher_BK, 30),
            attention=25 * attention,
            activation=2.5 * activation),
        rel=1e-3)


def test_the_features_of_each_synthesis_are_kept() -> None:
    model = make_algorithm(
        'SpaceshipNet', bank_capacity=20, num_generator_steps=1)
    wrappers = optimisers(model)
    ends: list[Tensor] = []
    expected: list[list[Tensor]] = [[], [], []]
    end = model.end_synthesis

    def watched(made: SyntheticBatch, latents_BZ: Tensor) -> None:
        ends.append(latents_BZ)
        made_by = generator_layers(model.generator,
                                   model.generator.project(latents_BZ), 0)
        # After the first, second and third activation.
        for kept, layer in zip(expected, (2, 6, 10)):
            kept.append(made_by[layer].detach())
        end(made, latents_BZ)

    model.end_synthesis = watched
    for _ in range(3):
        model.synthesis(wrappers)
    assert [bank.rows().shape[1:] for bank in model.banks] == [(8, 4, 4),
                                                               (8, 8, 8),
                                                               (4, 16, 16)]
    for bank, kept in zip(model.banks, expected):
        torch.testing.assert_close(bank.rows(), torch.cat(kept)[-20:])


def test_each_channel_comes_from_one_of_two_kept_images() -> None:
    model = make_algorithm('SpaceshipNet', num_generator_steps=1)
    model.synthesis(optimisers(model))
    decoded: list[tuple[Tensor, int]] = []
    decode = model.generator.decode
    model.generator.decode = lambda features, start=0: (decoded.append(
        (features, start)), decode(features, start))[1]
    made = [model.exchanged(6).images_BCHW for _ in range(40)]
    starts = [start for _, start in decoded]
    assert {*starts} == {3, 7, 11}
    assert min(starts.count(start) for start in (3, 7, 11)) > 4
    exchanged = total = mixed = 0
    for (features, start), images_BCHW in zip(decoded, made):
        rows = model.banks[(3, 7, 11).index(start)].rows()
        for feature in features:
            sources = []
            for channel, map_ in enumerate(feature):
                same = [
                    index for index, row in enumerate(rows)
                    if torch.equal(row[channel], map_)
                ]
                assert same
                sources.append(same)
            # A ReLU without values is the same in many images.
            known = [same[0] for same in sources if len(same) == 1]
            assert len({*known}) <= 2
            mixed += len({*known}) == 2
            # At 0.7 the more frequent of two is the other mostly.
            counts = sorted(known.count(index) for index in {*known})
            total += len(known)
            exchanged += counts[-1]
        # The layers above go on from there.
        expected_BCHW = generator_layers(model.generator, features,
                                         start)[-1].sigmoid()
        torch.testing.assert_close(images_BCHW, expected_BCHW)
    assert mixed > 100
    assert 0.65 < exchanged / total < 0.9


@pytest.mark.parametrize('probability', [0.0, 0.7, 1.0])
def test_the_probability_is_that_of_the_other_images_channels(
        probability: float) -> None:
    model = make_algorithm('SpaceshipNet', exchange_probability=probability)
    model.synthesis(optimisers(model))
    pairs: list[Tensor] = []
    decoded: list[Tensor] = []
    for bank in model.banks:
        sample = bank.sample
        bank.sample = lambda size, stream, sample=sample: (pairs.append(
            sample(size, stream)), pairs[-1])[1]
    decode = model.generator.decode
    model.generator.decode = lambda features, start=0: (decoded.append(
        features), decode(features, start))[1]
    for _ in range(60):
        model.exchanged(8)
    from_other = from_either = 0
    for features, own, other in zip(decoded, pairs[::2], pairs[1::2]):
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


@pytest.mark.parametrize('share, num_made', [(0.0, 0), (0.5, 4), (0.75, 6),
                                             (1.0, 8)])
def test_a_students_batch_has_its_share_of_exchanged_images(
        share: float, num_made: int) -> None:
    model = make_algorithm('SpaceshipNet', exchange_share=share)
    model.synthesis(optimisers(model))
    made: list[Tensor] = []
    exchange = model.exchanged
    model.exchanged = lambda size: (made.append(exchange(size).images_BCHW),
                                    SyntheticBatch(made[-1]))[1]
    generated = model.counters.images_generated
    images_BCHW, target = model.student_batch()
    assert len(images_BCHW) == 8
    assert not images_BCHW.requires_grad
    assert model.counters.images_generated == generated + num_made
    if num_made:
        assert torch.equal(images_BCHW[:num_made], made[0])
    rows = {row.numpy().tobytes() for row in model.pool.rows()}
    for image_CHW in images_BCHW[num_made:]:
        assert image_CHW.numpy().tobytes() in rows
    expected = model.teacher(images_BCHW, maps_at=model.stage_maps.teacher)
    torch.testing.assert_close(target.logits_BK, expected.logits_BK)
    assert len(target.maps) == 4
    for got, map_ in zip(target.maps, expected.maps):
        torch.testing.assert_close(got, map_)
        assert not got.requires_grad
    assert all(value.isfinite().all()
               for value in snapshot(model.generator).values())


def test_exchanged_images_pass_the_selector() -> None:
    model = make_algorithm(
        'SpaceshipNet', selector=dict(type='KeepEvery', n=4))
    model.synthesis(optimisers(model))
    # Of eight.
    assert len(model.pool) == 2
    selected = model.counters.images_selected
    images_BCHW, _ = model.student_batch()
    assert len(images_BCHW) == 8
    # One of four exchanged images.
    assert model.counters.images_selected == selected + 1
    rows = {row.numpy().tobytes() for row in model.pool.rows()}
    stored = [image.numpy().tobytes() in rows for image in images_BCHW]
    assert stored == [False] + [True] * 7


def test_without_exchange_the_selector_is_not_asked() -> None:
    model = make_algorithm(
        'SpaceshipNet',
        exchange_share=0.0,
        selector=dict(type='KeepEvery', n=4))
    model.synthesis(optimisers(model))
    before = snapshot(model.generator)
    images_BCHW, _ = model.student_batch()
    rows = {row.numpy().tobytes() for row in model.pool.rows()}
    assert {image.numpy().tobytes() for image in images_BCHW} <= rows
    assert_unchanged(model.generator, before)


def test_an_iteration_trains_one_network_a_step() -> None:
    model = make_algorithm('SpaceshipNet', num_student_steps=3)
    wrappers = optimisers(model)
    steps = record_gradients(model, wrappers)
    before = snapshot(model.teacher)
    weights = []
    train = model.student_step
    model.student_step = lambda wrapper: (weights.append(
        [value.detach().clone()
         for value in model.generator.parameters()]), train(wrapper))[1]
    losses = model.train_step(None, wrappers)
    assert [step.network
            for step in steps] == ['generator'] * 2 + ['student'] * 3
    for step in steps:
        assert [*step.gradients] == [step.network]
        assert step.gradients[step.network] > 0
    assert_unchanged(model.teacher, before)
    for old, new in zip(weights[0], model.generator.parameters()):
        assert torch.equal(old, new)
    assert {*losses} == {
        'generator_one_hot', 'generator_bn', 'generator_total',
        'student_logits', 'student_attention', 'student_activation',
        'student_total'
    }


@pytest.mark.parametrize('changes, message', [
    (dict(exchange_probability=1.5), r'exchange_probability must be in \[0, 1'
     r'\], got 1.5: set model.exchange_probability'),
    (dict(exchange_share=-0.1), 'exchange_share must be .*exchange_share'),
    (dict(exchange_share='half'), 'exchange_share must be .*exchange_share'),
    (dict(bank_capacity=1), 'bank_capacity must be .*model.bank_capacity'),
])
def test_wrong_numbers_are_refused_by_name(changes: dict,
                                           message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_algorithm('SpaceshipNet', **changes)


@pytest.mark.parametrize('name', ['teacher', 'student'])
def test_a_network_without_class_activation_maps_is_refused(name: str) -> None:
    # Two linear layers: the last map is not under the one of the classes.
    stacked = classifier() | dict(
        head=dict(
            type='StackedLinearClsHead',
            num_classes=5,
            in_channels=32,
            mid_channels=[7]))
    network = stacked if name == 'student' else dict(
        type='MMPretrainTeacher',
        model=stacked,
        input_size=16,
        allow_random_weights=True)
    with pytest.raises(
            UserError,
            match=f'the {name} has no linear layer right after .*model.{name}'
    ):
        make_algorithm('SpaceshipNet', **{name: network})


def test_the_banks_survive_an_interruption() -> None:
    continues_exactly('SpaceshipNet', num_steps=2)


def test_three_iterations_of_the_digits_config(tiny_teacher_checkpoint: str,
                                               tmp_path: Path) -> None:
    model, losses = runs_three_iterations('SpaceshipNet',
                                          tiny_teacher_checkpoint, tmp_path)
    assert [len(bank) for bank in model.banks] == [24] * 3
    for row in losses:
        assert {*row} == {
            'generator_one_hot', 'generator_bn', 'generator_total',
            'student_logits', 'student_attention', 'student_activation',
            'student_total'
        }
