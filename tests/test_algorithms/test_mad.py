"""MAD: the student also learns from a slow copy of the generator."""
from pathlib import Path

import pytest
import torch
from algorithm_helpers import (assert_unchanged, balance_of, bn_distance_of,
                               continues_exactly, cross_entropy_of,
                               has_gradient, kl_of, make_algorithm, optimisers,
                               record_gradients, record_images,
                               runs_three_iterations, snapshot, surest)
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.structures import SyntheticBatch

SLOW = 'slow_generator.module'
CONDITIONAL = dict(
    type='ConditionalGenerator',
    num_classes=5,
    latent_size=6,
    image_size=8,
    image_channels=1,
    width=4)


def weights_of(module: torch.nn.Module) -> dict[str, Tensor]:
    """The parameters, copied."""
    return {
        name: value.detach().clone()
        for name, value in module.named_parameters()
    }


def test_the_slow_copy_keeps_19_parts_of_itself_at_each_generator_step(
) -> None:
    model = make_algorithm('MAD')
    wrapper = optimisers(model, lr=1e-2)['generator']
    expected = weights_of(model.generator)
    for _ in range(3):
        model.generator_step(wrapper)
        new = weights_of(model.generator)
        # From the very first step on, at which the copy is the generator.
        expected = {
            name: 0.95 * value + 0.05 * new[name]
            for name, value in expected.items()
        }
        slow = weights_of(model.slow_generator.module)
        torch.testing.assert_close(slow, expected, rtol=0, atol=1e-6)
        assert not any(
            torch.allclose(slow[name], new[name], rtol=0, atol=1e-6)
            for name in ('project.weight', 'upsample.4.weight'))


def test_student_steps_leave_the_slow_copys_weights() -> None:
    model = make_algorithm('MAD')
    wrappers = optimisers(model)
    model.train_step(None, wrappers)
    before = weights_of(model.slow_generator.module)
    model.student_step(wrappers['student'])
    torch.testing.assert_close(
        weights_of(model.slow_generator.module), before, rtol=0, atol=0)


def test_the_student_learns_from_a_batch_of_each() -> None:
    model = make_algorithm('MAD')
    with torch.no_grad():
        model.slow_generator.module.project.weight.neg_()
    with record_images(model, SLOW) as calls:
        images_BCHW, target = model.student_batch()
    assert [name
            for name, _ in calls] == ['generator', 'teacher', SLOW, 'teacher']
    assert images_BCHW.shape == (16, 1, 8, 8)
    assert images_BCHW[:8].equal(calls[0][1])
    assert images_BCHW[8:].equal(calls[2][1])
    torch.testing.assert_close(target.logits_BK,
                               model.teacher(images_BCHW).logits_BK)
    assert not images_BCHW.requires_grad
    assert not target.logits_BK.requires_grad

    model.eval()
    student_BK = model.student_logits(images_BCHW)
    expected = (kl_of(student_BK[:8], target.logits_BK[:8]) +
                kl_of(student_BK[8:], target.logits_BK[8:])) / 2
    losses = model.student_losses(images_BCHW, target)
    assert set(losses) == {'logits'}
    assert losses['logits'].item() == pytest.approx(expected, rel=1e-5)


def test_the_generator_minimises_the_sum_of_dfq() -> None:
    model = make_algorithm('MAD').eval()
    batch = SyntheticBatch(torch.rand(6, 1, 8, 8))
    logits_BK = model.teacher(batch.images_BCHW).logits_BK
    expected = dict(
        adversarial=-kl_of(model.student_logits(batch.images_BCHW), logits_BK),
        bn=bn_distance_of(model, batch.images_BCHW),
        one_hot=cross_entropy_of(logits_BK).mean(),
        balance=20 * balance_of(logits_BK))
    assert {
        name: value.item()
        for name, value in model.generator_losses(batch, batch).items()
    } == pytest.approx(
        expected, rel=1e-4)


def test_a_wanted_class_is_added_to_the_latent_and_asked_for() -> None:
    model = make_algorithm('MAD', generator=CONDITIONAL).eval()
    latents_BZ, labels_B = torch.randn(6, 6), torch.arange(6) % 5
    shifted_BZ = latents_BZ + model.generator.embedding.weight[labels_B]
    made_BCHW = model.generator(latents_BZ, labels_B)
    assert made_BCHW.equal(
        model.generator.decode(model.generator.project(shifted_BZ)))
    batch = SyntheticBatch(made_BCHW, labels_B)
    logits_BK = model.teacher(made_BCHW).logits_BK
    assert model.generator_losses(batch,
                                  batch)['one_hot'].item() == pytest.approx(
                                      cross_entropy_of(logits_BK,
                                                       labels_B).mean(),
                                      rel=1e-4)
    # Both generators are told their labels while the student learns.
    losses = model.train().train_step(None, optimisers(model))
    assert all(torch.isfinite(value) for value in losses.values())


def test_each_step_trains_its_own_network_and_the_slow_copy_has_no_gradient(
) -> None:
    model = make_algorithm('MAD', num_student_steps=2)
    wrappers = optimisers(model)
    steps = record_gradients(model, wrappers)
    before = snapshot(model.teacher)
    model.train_step(None, wrappers)
    assert [step.network for step in steps] == ['student'] * 2 + ['generator']
    for step in steps:
        assert set(step.gradients) == {step.network}
        assert step.gradients[step.network] > 0
    assert not has_gradient(model.slow_generator)
    assert not any(parameter.requires_grad
                   for parameter in model.slow_generator.parameters())
    assert 'slow_generator' not in model.trained_networks
    assert_unchanged(model.teacher, before)


def test_selected_images_of_both_generators_wait_apart() -> None:
    model = make_algorithm(
        'MAD', selector=dict(type='TopFractionSelector', fraction=0.7))
    with torch.no_grad():
        model.slow_generator.module.project.weight.neg_()
    with record_images(model, SLOW) as calls:
        images_BCHW, _ = model.student_batch()
    # Six of eight are kept: two rounds, of which four are left over.
    for name, queue, used_BCHW in (('generator', model.queue, images_BCHW[:8]),
                                   (SLOW, model.slow_queue, images_BCHW[8:])):
        kept_BCHW = torch.cat([
            surest(model, images, 6) for called, images in calls
            if called == name
        ])
        assert len(kept_BCHW) == 12
        assert used_BCHW.equal(kept_BCHW[:8])
        assert len(queue) == 4
        assert queue.take(4).images_BCHW.equal(kept_BCHW[8:])


@pytest.mark.parametrize('momentum', [0.0, 1.0, 1, '0.9'])
def test_a_momentum_out_of_range_is_refused(momentum: object) -> None:
    with pytest.raises(
            UserError, match=r'momentum must be in \(0, 1\).*model.momentum'):
        make_algorithm('MAD', momentum=momentum)


def test_three_iterations_of_the_digits(tmp_path: Path,
                                        tiny_teacher_checkpoint: str) -> None:
    model, _ = runs_three_iterations('MAD', tiny_teacher_checkpoint, tmp_path)
    assert model.counters.generator_steps == 3
    assert model.counters.student_steps == 6
    # A student step has a batch of each generator.
    assert model.counters.images_generated == 8 * (2 * 6 + 3)


def test_continuing_is_exact_with_the_slow_copy_and_its_queue() -> None:
    # Three of eight are kept, so that both queues hold one when it is saved.
    continues_exactly('MAD', selector=dict(type='KeepEvery', n=3))


def test_the_slow_copy_and_its_queue_are_in_the_saved_state() -> None:
    model = make_algorithm('MAD', selector=dict(type='KeepEvery', n=3))
    model.train_step(None, optimisers(model))
    state = model.training_state()
    assert len(state['slow_queue']['images_BCHW']) == 1
    assert not state['slow_queue']['images_BCHW'].equal(
        state['queue']['images_BCHW'])
    saved = model.state_dict()
    for name, value in weights_of(model.slow_generator.module).items():
        assert saved[f'slow_generator.module.{name}'].equal(value)
