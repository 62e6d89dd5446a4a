"""The verdict of a report on a teacher."""
import pytest

from tadfkd.evaluation.teacher_report import Answers, TeacherReport


def report(num_classes: int = 5) -> TeacherReport:
    """A report without problems."""
    answers = Answers(spread=1.5, confidence=0.75, num_predicted=3, kept=60.0)
    return TeacherReport(
        facts=dict(
            num_classes=(num_classes, 'the network'),
            input_size=((8, 16), 'set in model.teacher')),
        num_parameters=1_500_000,
        num_student_parameters=250_000,
        multiply_adds=2_000_000,
        num_bn_layers=4,
        num_bn_seen=4,
        num_features=None,
        image_gradient=0.5,
        noise=answers,
        generated=answers)


@pytest.mark.parametrize('num_classes, min_top1, bar', [
    (5, None, 40.0),
    (5, 80, 80.0),
    (5, 0, 0.0),
    (2, None, 75.0),
    (3, None, 66.6),
])
def test_the_accuracy_is_compared_with_the_bar(num_classes: int,
                                               min_top1: float | None,
                                               bar: float) -> None:
    good, bad = report(num_classes), report(num_classes)
    good.judge_accuracy(bar + 0.1, min_top1)
    assert good.problems == [] and good.verdict == 'OK'
    bad.judge_accuracy(bar - 0.1, min_top1)
    assert bad.verdict.startswith(f'unusable: top-1 is {bar - 0.1:.2f} %')
