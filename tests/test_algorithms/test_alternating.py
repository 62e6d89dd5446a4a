"""Student steps and generator steps: their order, and what they cost."""
from typing import Any

import pytest
from algorithm_helpers import make_algorithm, one_iteration

AUGMENT = dict(type='RandomCropFlip', padding=2, flip_probability=0.5)
HALF = dict(type='KeepEvery', n=2)
ALL = dict(type='SelectAll')


def test_an_iteration_has_the_configured_steps_in_order() -> None:
    model = make_algorithm(
        'TADFKD', num_student_steps=3, num_generator_steps=2)
    seen = one_iteration(model)
    assert seen.order == ['student'] * 3 + ['generator'] * 2
    assert model.counters.student_steps == 3
    assert model.counters.generator_steps == 2
    # Each step has images of its own.
    made = [images_BCHW.sum().item() for images_BCHW in seen.made]
    assert len({*made}) == len(made) >= 5


@pytest.mark.parametrize(
    'changes, student_step, generator_step',
    [
        # Candidates pass once; four of eight are kept, two rounds fill up.
        (dict(selector=HALF), [8, 8], [8, 4]),
        # The losses see another view than the selector.
        (dict(selector=HALF, augment=AUGMENT), [8, 8, 8], [8, 4]),
        (dict(selector=HALF, augment=AUGMENT,
              select_on='augmented'), [8, 8], [8, 4]),
        (dict(selector=HALF, augment=AUGMENT, bn_on='plain'), [8, 8, 8
                                                               ], [8, 4, 4]),
        # Nothing to judge: only the images that are used are answered.
        (dict(selector=ALL), [8], [8]),
        (dict(selector=ALL, augment=AUGMENT), [8], [8]),
    ])
def test_the_teacher_is_asked_no_more_than_needed(
        changes: dict[str, Any], student_step: list[int],
        generator_step: list[int]) -> None:
    seen = one_iteration(make_algorithm('TADFKD', **changes))
    sizes = [len(call.images_BCHW) for call in seen.of('teacher')]
    assert sizes == student_step + generator_step
    # A student step has no graph but that of the student.
    assert not any(
        call.graph for call in seen.of('teacher')[:len(student_step)] +
        seen.of('generator')[:-1])
    student, generator = seen.of('student')
    assert len(student.images_BCHW) == 8
    assert len(generator.images_BCHW) == generator_step[-1]
