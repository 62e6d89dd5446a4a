"""The lower and the upper bound: noise, and real images."""
import equations
import pytest
import torch
from algorithm_helpers import make_algorithm, one_iteration, real_batch

BOTH = pytest.mark.parametrize('type', ['RandomNoiseKD', 'VanillaKD'])


@BOTH
def test_the_student_minimises_the_divergence_at_temperature_4(
        type: str) -> None:
    model = make_algorithm(type)
    assert model.trained_networks == ('student', )
    seen = one_iteration(model, data=real_batch())
    [call] = seen.of('student')
    # Sixteen times the divergence of the softened answers.
    expected = equations.kl(
        call.logits_BK,
        equations.logits(model.teacher.network, call.images_BCHW), 4)
    assert expected > 0.1
    seen.assert_losses(student=dict(logits=expected))
    assert all(not call.graph for call in seen.of('teacher'))
    assert model.counters.generator_steps == 0


def test_real_images_are_what_both_networks_see_and_what_is_measured() -> None:
    model = make_algorithm('VanillaKD')
    # Before there are any, noise.
    assert model.synthesize(5).shape == (5, 1, 8, 8)
    batch = real_batch()
    expected_BCHW = torch.stack(batch['inputs']).float() / 255
    seen = one_iteration(model, data=batch)
    assert [call.network for call in seen.calls] == ['teacher', 'student']
    for call in seen.calls:
        torch.testing.assert_close(call.images_BCHW, expected_BCHW)
    assert model.counters.images_generated == 0
    torch.testing.assert_close(model.synthesize(5), expected_BCHW[:5])
    assert len(model.synthesize(100)) == 8
