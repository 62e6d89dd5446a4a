"""One forward of the teacher for a generator step and its student steps."""
import pytest
from algorithm_helpers import make_algorithm, one_iteration


# ZSKT's generator asks the student as well.
@pytest.mark.parametrize('type, asked', [('DAFL', []), ('ZSKT', ['student'])])
def test_all_steps_use_the_same_images_and_one_answer(
        type: str, asked: list[str]) -> None:
    model = make_algorithm(type, num_generator_steps=2, num_student_steps=3)
    seen = one_iteration(model)
    joint = ['generator', 'teacher', *asked, *['student'] * 3]
    assert [call.network for call in seen.calls] == joint * 2
    assert seen.order == (['generator'] + ['student'] * 3) * 2
    for place, call in enumerate(seen.calls):
        assert call.images_BCHW.equal(seen.made[place // len(joint)])
    assert not seen.made[0].equal(seen.made[1])
    assert model.counters.images_generated == 16


def test_selection_does_not_cost_a_forward_of_the_teacher() -> None:
    model = make_algorithm(
        'ZSKT',
        selector=dict(type='KeepEvery', n=2),
        augment=dict(type='RandomShift', max_pixels=1))
    seen = one_iteration(model)
    [answer] = seen.of('teacher')
    # The selector judges the augmented view.
    for call in seen.of('student'):
        assert call.images_BCHW.equal(answer.images_BCHW[::2])
    assert not answer.images_BCHW.equal(seen.made[0])
    assert model.counters.images_selected == 4
