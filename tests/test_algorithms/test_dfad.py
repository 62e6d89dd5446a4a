"""DFAD: the generator widens the distance that the student narrows."""
import equations
import numpy as np
import pytest
import torch
from algorithm_helpers import make_algorithm, one_iteration, optimisers


def test_the_two_players_have_the_same_distance_with_opposite_signs() -> None:
    model = make_algorithm('DFAD', selector=dict(type='KeepEvery', n=2))
    seen = one_iteration(model)
    assert seen.order == ['student', 'generator']
    distances = []
    for call in seen.of('student'):
        teacher_BK = equations.logits(model.teacher.network, call.images_BCHW)
        distances.append(np.abs(call.logits_BK - teacher_BK).mean())
    assert call.images_BCHW.equal(seen.made[-1][::2])
    assert min(distances) > 0.1
    seen.assert_losses(
        student=dict(logits=distances[0]),
        generator=dict(adversarial=-distances[1]))


@pytest.mark.parametrize('silenced', ['student', 'teacher.network'])
def test_the_distance_moves_the_generator_through_both_networks(
        silenced: str) -> None:
    # The silenced network says the same of all images.
    model = make_algorithm('DFAD')
    torch.nn.init.zeros_(model.get_submodule(silenced).head.fc.weight)
    seen = one_iteration(model, optimisers(model, lr=0.0))
    assert seen.order == ['student', 'generator']
    assert seen.steps[1].gradients['generator'] > 1e-6
