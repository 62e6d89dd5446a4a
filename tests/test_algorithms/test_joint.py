"""One forward of the teacher for a generator step and its student steps."""
import pytest
from algorithm_helpers import as_set, make_algorithm, one_iteration, optimisers


# ZSKT's generator asks the student as well, and makes its images twice.
@pytest.mark.parametrize('type, parts', [
    ('DAFL', [['generator', 'teacher', *['student'] * 3]]),
    ('ZSKT', [['generator', 'teacher', 'student'],
              ['generator', 'teacher', *['student'] * 3]]),
])
def test_the_student_steps_share_images_and_one_answer(
        type: str, parts: list[list[str]]) -> None:
    model = make_algorithm(type, num_generator_steps=2, num_student_steps=3)
    seen = one_iteration(model)
    parts = parts * 2
    assert [call.network for call in seen.calls] == sum(parts, [])
    assert seen.order == (['generator'] + ['student'] * 3) * 2
    calls = iter(seen.calls)
    for part, images_BCHW in zip(parts, seen.made, strict=True):
        assert all(next(calls).images_BCHW.equal(images_BCHW) for _ in part)
    assert len(as_set(*seen.made)) == 8 * len(parts)
    assert model.counters.images_generated == 8 * len(parts)


def test_the_student_of_zskt_sees_the_updated_generator_on_the_same_latents(
) -> None:
    model = make_algorithm('ZSKT')
    seen = one_iteration(model, optimisers(model, lr=0.1))
    first, second = seen.of('generator')
    assert first.latents_BZ.equal(second.latents_BZ)
    assert (first.graph, second.graph) == (True, False)
    assert model.generator(second.latents_BZ).equal(second.images_BCHW)
    assert not second.images_BCHW.equal(first.images_BCHW)


def test_selection_does_not_cost_a_forward_of_the_teacher() -> None:
    model = make_algorithm(
        'DAFL',
        selector=dict(type='KeepEvery', n=2),
        augment=dict(type='RandomShift', max_pixels=1))
    seen = one_iteration(model)
    [answer] = seen.of('teacher')
    # The selector judges the augmented view.
    for call in seen.of('student'):
        assert call.images_BCHW.equal(answer.images_BCHW[::2])
    assert not answer.images_BCHW.equal(seen.made[0])
    assert model.counters.images_selected == 4
