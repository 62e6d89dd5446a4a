"""MAD: the student also learns from a slow copy of the generator."""
import equations
import pytest
import torch
from algorithm_helpers import (CONDITIONAL, has_gradient, make_algorithm,
                               one_iteration, optimisers)
from torch import Tensor, nn

SLOW = 'slow_generator.module'


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """The parameters, copied."""
    return {
        name: value.detach().clone()
        for name, value in module.named_parameters()
    }


def test_the_slow_copy_keeps_19_parts_of_itself_at_each_generator_step(
) -> None:
    model = make_algorithm('MAD')
    wrappers = optimisers(model, lr=1e-2)
    expected = weights_of(model.generator)
    for _ in range(3):
        seen = one_iteration(model, wrappers)
        new = weights_of(model.generator)
        # From the very first step on, at which the copy is the generator.
        expected = {
            name: 0.95 * value + 0.05 * new[name]
            for name, value in expected.items()
        }
        slow = weights_of(model.slow_generator.module)
        torch.testing.assert_close(slow, expected, rtol=0, atol=1e-6)
        assert not torch.allclose(slow['project.weight'],
                                  new['project.weight'])
    assert seen.order == ['student', 'generator']
    assert not has_gradient(model.slow_generator)
    saved = model.state_dict()
    for name, value in slow.items():
        assert saved[f'{SLOW}.{name}'].equal(value)


@pytest.mark.parametrize('changes', [
    dict(),
    dict(generator=CONDITIONAL),
    dict(selector=dict(type='KeepEvery', n=2)),
])
def test_the_student_learns_from_a_batch_of_each(changes: dict) -> None:
    model = make_algorithm('MAD', **changes)
    with torch.no_grad():
        model.slow_generator.module.project.weight.neg_()
    seen = one_iteration(model, also=(SLOW, ))
    n = 2 if 'selector' in changes else 1
    [call] = seen.of('student', training=True)
    made = [images[::n] for images in seen.made[:-1]]
    slow = [called.images_BCHW[::n] for called in seen.of(SLOW)]
    assert call.images_BCHW.equal(torch.cat((*made, *slow)))
    assert call.images_BCHW.shape == (16, 1, 8, 8)
    teacher_BK = equations.logits(model.teacher.network, call.images_BCHW)
    halves = [
        equations.kl(call.logits_BK[rows], teacher_BK[rows])
        for rows in (slice(8), slice(8, 16))
    ]
    assert seen.losses['student_logits'] == pytest.approx(
        sum(halves) / 2, rel=1e-4)
