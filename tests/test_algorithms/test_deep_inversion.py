"""DeepInversion and ADI: pixels that are trained, and what trains them."""

import equations
import numpy as np
import pytest
from algorithm_helpers import make_algorithm, one_iteration, optimisers

BOTH = pytest.mark.parametrize('type', ['DeepInversion', 'ADI'])


@BOTH
def test_both_networks_minimise_the_papers_sums(type: str) -> None:
    model = make_algorithm(type)
    seen = one_iteration(model)
    # The teacher sees shifted images.
    views_BCHW = seen.of('teacher', graph=True)[-1].images_BCHW
    assert not views_BCHW.equal(seen.made[-1])
    network = model.teacher.network
    teacher_BK = equations.logits(network, views_BCHW)
    x = equations.normalised(views_BCHW).double().numpy()
    terms = dict(
        one_hot=equations.cross_entropy(teacher_BK, seen.labels()),
        bn=10 * equations.bn_distance(
            network, equations.bn_statistics(network, views_BCHW)),
        tv=4e-4 * equations.total_variation(x),
        l2=16e-3 * np.mean([np.linalg.norm(image) for image in x]))
    calls = seen.of('student', training=False)
    assert len(calls) == (2 if type == 'ADI' else 0)
    if type == 'ADI':
        divergence = equations.js(calls[-1].logits_BK, teacher_BK, 3)
        assert divergence > 1e-2
        terms['adversarial'] = -divergence
    [student] = seen.of('student', training=True)
    seen.assert_losses(
        generator=terms,
        student=dict(
            logits=equations.kl(student.logits_BK,
                                equations.logits(network, student.images_BCHW),
                                20)))


@BOTH
def test_each_synthesis_begins_at_new_noise_with_a_new_optimiser(
        type: str) -> None:
    model = make_algorithm(
        type,
        generator=dict(
            type='PixelGenerator',
            batch_size=8,
            image_size=24,
            image_channels=1))
    wrappers = optimisers(model, lr=0.1, optimizer='Adam')
    beginnings, states = [], []

    def look(*_: object) -> None:
        beginnings.append(model.generator.variables_BCHW.detach().clone())
        states.append(len(wrappers['generator'].optimizer.state))

    model.generator.register_forward_pre_hook(look)
    for _ in range(2):
        model.train_step(None, wrappers)
    # Two steps per synthesis.
    assert states == [0, 1, 0, 1]
    first, _, second, _ = (noise.flatten().numpy() for noise in beginnings)
    for noise in (first, second):
        # 4608 numbers: three standard errors and more.
        assert abs(noise.mean()) < 0.05
        assert abs(noise.std() - 1) < 0.04
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05
