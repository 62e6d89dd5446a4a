"""The two steps: who is trained, what is computed, and in which order."""
import io
from collections.abc import Callable

import pytest
import torch
from algorithm_helpers import assert_unchanged, count_forwards, snapshot
from torch import Tensor, nn

from tadfkd.errors import UserError
from tadfkd.registry import SELECTORS
from tadfkd.selectors import BaseSelector

AUGMENT = dict(type='RandomCropFlip', padding=2, flip_probability=0.5)


def gradients(module: nn.Module) -> list[bool]:
    return [parameter.grad is not None for parameter in module.parameters()]


def test_a_student_step_trains_the_student_alone(
        make_model: Callable, make_optimisers: Callable) -> None:
    model = make_model(augment=AUGMENT)
    model.train()
    optimisers = make_optimisers(model)
    before = {
        name: snapshot(getattr(model, name))
        for name in ('teacher', 'student')
    }
    weights = {
        name: value.detach().clone()
        for name, value in model.generator.named_parameters()
    }
    model.student_step(optimisers['student'])
    assert_unchanged(model.teacher, before['teacher'])
    for name, value in model.generator.named_parameters():
        assert value.equal(weights[name])
    assert not any(gradients(model.generator))
    assert not any(gradients(model.teacher))
    with pytest.raises(AssertionError):
        assert_unchanged(model.student, before['student'])


def test_a_generator_step_trains_the_generator_alone(
        make_model: Callable, make_optimisers: Callable) -> None:
    model = make_model(augment=AUGMENT)
    model.train()
    optimisers = make_optimisers(model)
    before = {
        name: snapshot(getattr(model, name))
        for name in ('teacher', 'student', 'generator')
    }
    model.generator_step(optimisers['generator'])
    assert_unchanged(model.teacher, before['teacher'])
    # Its batch-norm statistics included.
    assert_unchanged(model.student, before['student'])
    assert not any(gradients(model.student))
    assert not any(gradients(model.teacher))
    with pytest.raises(AssertionError):
        assert_unchanged(model.generator, before['generator'])
    assert model.student.training
    assert all(parameter.requires_grad
               for parameter in model.student.parameters())


def test_the_adversarial_term_reaches_the_generator(
        make_model: Callable, make_optimisers: Callable) -> None:
    model = make_model(
        bn_loss=dict(type='BNStatisticsLoss', loss_weight=0.0),
        image_losses={})
    wrapper = make_optimisers(model)['generator']
    steps = []
    wrapper.optimizer.step = lambda: steps.append([
        float(parameter.grad.abs().sum())
        for parameter in model.generator.parameters()
    ])
    model.train()
    # A student unlike its teacher; both are the same at first.
    nn.init.normal_(model.student.head.fc.weight)
    model.generator_step(wrapper)
    assert sum(steps[0]) > 0


def test_the_teacher_is_asked_without_a_graph_in_a_student_step(
        make_model: Callable, make_optimisers: Callable) -> None:
    model = make_model(augment=AUGMENT)
    modes = []
    for network in (model.teacher, model.generator):
        network.register_forward_pre_hook(
            lambda *_: modes.append(torch.is_grad_enabled()))
    model.student_step(make_optimisers(model)['student'])
    assert modes and not any(modes)


@pytest.mark.parametrize(
    'changes, passes',
    [
        # Candidates pass once; four of eight are kept, two rounds fill up.
        (dict(), [8, 8]),
        # The losses see another view than the selector.
        (dict(augment=AUGMENT), [8, 8, 8]),
        (dict(augment=AUGMENT, select_on='augmented'), [8, 8]),
        # Nothing to judge: only the images that are used are answered.
        (dict(selector=dict(type='SelectAll')), [8]),
        (dict(selector=dict(type='SelectAll'), augment=AUGMENT), [8]),
    ])
def test_a_student_step_asks_the_teacher_no_more_than_needed(
        make_model: Callable, make_optimisers: Callable, changes: dict,
        passes: list[int]) -> None:
    model = make_model(**dict(selector=dict(type='KeepEvery', n=2)) | changes)
    with count_forwards(model) as sizes:
        model.student_step(make_optimisers(model)['student'])
    assert sizes['teacher'] == passes
    assert sizes['student'] == [8]


@pytest.mark.parametrize('changes, teacher, student', [
    (dict(), [8, 4], [4]),
    (dict(augment=AUGMENT), [8, 4], [4]),
    (dict(augment=AUGMENT, bn_on='plain'), [8, 4, 4], [4]),
    (dict(selector=dict(type='SelectAll')), [8], [8]),
])
def test_a_generator_step_asks_the_teacher_no_more_than_needed(
        make_model: Callable, make_optimisers: Callable, changes: dict,
        teacher: list[int], student: list[int]) -> None:
    model = make_model(**dict(selector=dict(type='KeepEvery', n=2)) | changes)
    with count_forwards(model) as sizes:
        model.generator_step(make_optimisers(model)['generator'])
    assert sizes == dict(teacher=teacher, student=student, generator=[8])


def test_left_over_samples_feed_the_next_student_step(
        make_model: Callable) -> None:
    # Six of eight are kept: 6 + 6 = 8 + 4, then 4 + 6 = 8 + 2, then 2 + 6.
    model = make_model(selector=dict(type='KeepSix'))
    rounds = []
    for waiting in (4, 2, 0):
        with count_forwards(model) as sizes:
            batch, teacher_logits_BK = model.selected_batch()
        rounds.append(len(sizes['generator']))
        assert len(batch) == 8
        assert len(model.queue) == waiting
        torch.testing.assert_close(teacher_logits_BK,
                                   model.teacher(batch.views_BCHW).logits_BK)
    assert rounds == [2, 1, 1]


@SELECTORS.register_module()
class KeepSix(BaseSelector):
    """Keeps the first six candidates."""

    def judge(self, logits_BK: Tensor, finite_B: Tensor,
              labels_B: Tensor | None) -> tuple[Tensor, Tensor]:
        """See the base class."""
        index_B = torch.arange(len(logits_BK))
        return index_B.float(), index_B < 6


def test_the_targets_are_the_teachers_answers_to_the_augmented_view(
        make_model: Callable) -> None:
    model = make_model(augment=AUGMENT)
    batch, teacher_logits_BK = model.selected_batch()
    assert not batch.views_BCHW.equal(batch.images_BCHW)
    torch.testing.assert_close(teacher_logits_BK,
                               model.teacher(batch.views_BCHW).logits_BK)


def test_too_many_rounds_say_how_many_images_were_kept(
        make_model: Callable) -> None:
    model = make_model(selector=dict(type='KeepEvery', n=8), max_rounds=3)
    with pytest.raises(
            UserError, match='after 3 rounds of 8 candidates only 3 of 8'):
        model.selected_batch()


def test_what_waits_is_forgotten_with_a_step_that_was_skipped(
        make_model: Callable, make_optimisers: Callable) -> None:
    model = make_model(selector=dict(type='KeepEvery', n=3))
    optimisers = make_optimisers(model)
    model.student_step(optimisers['student'])
    assert len(model.queue) == 1
    bias = model.teacher.network.head.fc.bias.data
    kept = bias.clone()
    bias.fill_(torch.nan)
    model.student_step(optimisers['student'])
    assert model.counters.updates['student'].skipped == 1
    # One good sample and seven that no answer is known of were taken.
    assert len(model.queue) == 1
    bias.copy_(kept)
    model.student_step(optimisers['student'])
    assert model.counters.updates['student'].skipped == 1
    assert model.counters.updates['student'].applied == 2
    assert model.counters.images_selected == 9 + 9


@pytest.mark.parametrize('student_first, order', [
    (True, ['student'] * 3 + ['generator'] * 2),
    (False, ['generator'] * 2 + ['student'] * 3),
])
def test_an_iteration_has_the_configured_steps_in_order(
        make_model: Callable, make_optimisers: Callable, student_first: bool,
        order: list[str]) -> None:
    model = make_model(
        num_student_steps=3,
        num_generator_steps=2,
        student_first=student_first)
    optimisers = make_optimisers(model)
    updates = []
    for name in ('student', 'generator'):
        update = optimisers[name].update_params
        optimisers[name].update_params = (
            lambda loss, name=name, update=update:
            (updates.append(name), update(loss)))
    losses = model.train_step(None, optimisers)
    assert updates == order
    assert model.counters.student_steps == 3
    assert model.counters.generator_steps == 2
    for network in ('student', 'generator'):
        terms = [
            value for name, value in losses.items()
            if name.startswith(network) and not name.endswith('total')
        ]
        torch.testing.assert_close(sum(terms), losses[f'{network}_total'])
        assert not any(term.requires_grad for term in terms)


@pytest.mark.parametrize('field, value', [
    ('batch_size', 1),
    ('num_student_steps', 0),
    ('num_generator_steps', 0),
    ('num_generator_steps', 1.5),
    ('max_rounds', 0),
    ('select_on', 'both'),
])
def test_numbers_out_of_range_are_refused_by_name(make_model: Callable,
                                                  field: str,
                                                  value: object) -> None:
    with pytest.raises(
            UserError, match=f'{field} must be .*set model.{field}'):
        make_model(**{field: value})


def test_continuing_from_a_saved_state_is_exact(
        make_model: Callable, make_optimisers: Callable) -> None:
    model = make_model(augment=AUGMENT, selector=dict(type='KeepSix'))
    optimisers = make_optimisers(model)
    model.train_step(None, optimisers)
    file = io.BytesIO()
    torch.save((model.state_dict(), model.training_state()), file)
    expected = model.train_step(None, optimisers)

    torch.manual_seed(99)
    other = make_model(augment=AUGMENT, selector=dict(type='KeepSix'))
    other.teacher.load_state_dict(model.teacher.state_dict())
    file.seek(0)
    weights, state = torch.load(file, weights_only=True)
    other.load_state_dict(weights)
    other.load_training_state(state)
    # Plain SGD has no state of its own.
    got = other.train_step(None, make_optimisers(other))
    assert {
        name: value.item()
        for name, value in got.items()
    } == {
        name: value.item()
        for name, value in expected.items()
    }
    assert_unchanged(other.student, snapshot(model.student))
    assert_unchanged(other.generator, snapshot(model.generator))
    assert other.training_state()['counters'] == model.training_state(
    )['counters']
