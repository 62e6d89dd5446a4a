"""ZSKT: divergence, and maps that the student imitates."""
import equations
import numpy as np
from algorithm_helpers import (NUM_CLASSES, make_algorithm, one_iteration,
                               optimisers)


def attention_of(map_BCHW: np.ndarray) -> np.ndarray:
    """The mean of squares over channels, of length 1 over the positions."""
    return equations.unit((map_BCHW**2).mean(1))


def test_both_networks_minimise_the_papers_sums() -> None:
    model = make_algorithm('ZSKT', selector=dict(type='KeepEvery', n=2))
    # Without a step, so that the student's maps can be computed again.
    seen = one_iteration(model, optimisers(model, lr=0.0))
    generator, student = seen.of('student')
    images_BCHW = seen.made[1][::2]
    assert generator.images_BCHW.equal(seen.made[0][::2])
    assert student.images_BCHW.equal(images_BCHW)
    network = model.teacher.network
    teacher_BK = equations.logits(network, images_BCHW)
    # The stages whose maps have more than a pixel: 8, 4 and 2 per side.
    stages = [1, 2, 3]
    distances = [
        ((attention_of(mine) - attention_of(other))**2).mean()
        for mine, other in zip(
            equations.stage_outputs(model.student, images_BCHW, stages),
            equations.stage_outputs(network, images_BCHW, stages))
    ]
    assert min(distances) > 1e-4
    seen.assert_losses(
        generator=dict(
            adversarial=-equations.kl(generator.logits_BK, teacher_BK) /
            NUM_CLASSES),
        student=dict(
            logits=equations.kl(student.logits_BK, teacher_BK) / NUM_CLASSES,
            attention=250 * sum(distances)))
