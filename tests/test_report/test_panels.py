"""Where the curves of a page are."""
import pytest

from tadfkd.report.panels import BOTTOM, TOP, draw_panels

HISTORY = dict(
    teacher_top1=99.0,
    epochs=[
        dict(
            epoch=epoch,
            student_top1=accuracy,
            agreement=None,
            class_entropy=entropy,
            bn_distance=distance,
            student_gradient_norm=norm,
            losses=dict(student_total=-epoch),
            findings=findings)
        for epoch, accuracy, entropy, distance, norm, findings in (
            (1, 50.0, 0.9, 2.0, 1.0, None), (2, None, 0.5, 1.0, 0.0, []),
            (3, 70.0, 0.1, 9.0, 100.0,
             ['class_entropy is 0.1, below 0.3', 'bn_growth is 9, above 4']))
    ])
LIMITS: dict[str, float | None] = dict(
    min_class_entropy=0.3, max_bn_growth=4.0, max_gradient_norm=1e4)


def test_values_limits_and_findings_are_at_their_heights() -> None:
    panels = {panel['title']: panel for panel in draw_panels(HISTORY, LIMITS)}
    # There is no panel without values, such as that of the diversity.
    assert [*panels] == [
        'Accuracy and agreement, percent',
        'Classes, and agreement beyond chance', 'Batch-norm distance',
        'Gradient norms', 'Losses of the student'
    ]
    student, teacher = panels['Accuracy and agreement, percent']['curves']
    # An epoch without a value is bridged.
    assert [text for *_, text, _ in student['dots']] == [
        'student, real images, epoch 1: 50',
        'student, real images, epoch 3: 70'
    ]
    assert len(teacher['dots']) == 3

    classes = panels['Classes, and agreement beyond chance']
    entropy, = classes['curves']
    (limit, text), = entropy['limits']
    assert text == 'at least 0.3'
    heights = [y for _, y, _, _ in entropy['dots']]
    # The vertical axis points downwards, and is linear.
    assert TOP < heights[0] < heights[1] < limit < heights[2] < BOTTOM
    assert (limit - heights[1]) == pytest.approx(heights[2] - limit, abs=0.2)
    assert [is_bad for *_, is_bad in entropy['dots']] == [False, False, True]
    # The whole of the third epoch is shaded.
    (left, width), = classes['bands']
    assert left < entropy['dots'][2][0] < left + width
    assert left > entropy['dots'][1][0]

    distance, = panels['Batch-norm distance']['curves']
    # Four times the least distance of the run.
    assert distance['limits'][0][1] == 'at most 4'
    assert distance['dots'][2][3]

    norm, = panels['Gradient norms']['curves']
    # Zero has no logarithm, and a limit far away would hide the values.
    assert len(norm['dots']) == 2 and norm['limits'] == []
    assert [text for _, text in panels['Gradient norms']['ticks_y']
            ] == ['1', '10', '100']


def test_one_epoch_and_no_epoch_can_be_drawn() -> None:
    history = HISTORY | dict(epochs=HISTORY['epochs'][:1])
    for panel in draw_panels(history, {}):
        (x, y, *_), = panel['curves'][0]['dots']
        assert TOP < y < BOTTOM and panel['ticks_x'] == [(x, '1')]
        assert panel['bands'] == []
    assert draw_panels(HISTORY | dict(epochs=[]), LIMITS) == []
