"""DFQ: divergence, batch-norm statistics and the class prior."""
import math

import equations
import pytest
from algorithm_helpers import CONDITIONAL, make_algorithm, one_iteration


@pytest.mark.parametrize(
    'changes, temperatures',
    [
        (dict(), (1.0, 1.0)),
        # Public code sets the temperature to 1 whatever its config says.
        (dict(
            student_loss=dict(type='KLLoss', temperature=4.0),
            adversarial_loss=dict(type='KLLoss', temperature=3.0)),
         (4.0, 3.0)),
        # A wanted class takes the place of the likeliest.
        (dict(generator=CONDITIONAL), (1.0, 1.0)),
    ])
def test_both_networks_minimise_the_papers_sums(
        changes: dict, temperatures: tuple[float, float]) -> None:
    model = make_algorithm(
        'DFQ', selector=dict(type='KeepEvery', n=2), **changes)
    seen = one_iteration(model)
    student, generator = seen.of('student')
    selected_BCHW, network = generator.images_BCHW, model.teacher.network
    assert selected_BCHW.equal(seen.made[-1][::2])
    labels_B = seen.labels()[::2] if 'generator' in changes else None
    prior = equations.class_prior(network, selected_BCHW, 1, 20 * math.log(10),
                                  0, labels_B)
    del prior['activation']
    assert prior['one_hot'] > 1e-3
    seen.assert_losses(
        generator=dict(
            adversarial=-equations.kl(generator.logits_BK,
                                      equations.logits(network, selected_BCHW),
                                      temperatures[1]),
            bn=equations.bn_distance(
                network, equations.bn_statistics(network, selected_BCHW)),
            **prior),
        student=dict(
            logits=equations.kl(student.logits_BK,
                                equations.logits(network, student.images_BCHW),
                                temperatures[0])))
