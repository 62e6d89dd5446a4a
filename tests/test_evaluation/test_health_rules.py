"""Limits of an epoch's measures."""
from typing import Any

import pytest

from tadfkd.errors import UserError
from tadfkd.evaluation.health_rules import Thresholds, find_problems


def epochs(*changes: dict[str, Any]) -> list[dict[str, Any]]:
    """A healthy history with one epoch for each of ``changes``."""
    return [
        dict(
            epoch=number,
            selection_rate=60.0,
            student_gradient_norm=1.0,
            generator_gradient_norm=5.0,
            skipped_share=0.0,
            agreement=50.0,
            kappa=0.4,
            bn_distance=20.0,
            class_histogram=[10] * 10,
            class_entropy=1.0,
            image_diversity=0.2,
            feature_diversity=0.3,
            finite=100.0) | change for number, change in enumerate(changes, 1)
    ]


def names(history: list[dict[str, Any]],
          warmup_epochs: int = 0,
          **thresholds: Any) -> list[str]:
    """Names of the measures that are a problem."""
    return [
        problem.partition(' ')[0] for problem in find_problems(
            history, Thresholds.of(thresholds), warmup_epochs)
    ]


def test_a_healthy_epoch_has_no_problem() -> None:
    assert names(epochs({}, {})) == []


@pytest.mark.parametrize(
    'change', [
        dict(finite=98.0),
        dict(skipped_share=26.0),
        dict(selection_rate=1.5),
        dict(class_entropy=0.1),
        dict(image_diversity=0.0),
        dict(feature_diversity=0.01),
        dict(kappa=-0.1),
        dict(student_gradient_norm=0.0),
        dict(generator_gradient_norm=1e5),
    ],
    ids=str)
def test_each_measure_alone_is_seen(change: dict[str, float]) -> None:
    assert names(epochs({}, change)) == [*change]
    # Earlier epochs are not judged.
    assert names(epochs(change, {})) == []


def test_the_batch_norm_distance_is_judged_by_the_least_of_the_run() -> None:
    assert names(epochs(dict(bn_distance=20.0), dict(bn_distance=79.0))) == []
    assert names(epochs(dict(bn_distance=20.0),
                        dict(bn_distance=81.0))) == ['bn_growth']
    assert names(epochs(dict(bn_distance=81.0), dict(bn_distance=20.0))) == []


def test_only_what_is_not_finite_is_judged_in_the_warm_up() -> None:
    early = epochs({}, dict(class_entropy=0.0, kappa=0.0))
    assert names(early, warmup_epochs=2) == []
    assert names(early, warmup_epochs=1) == ['class_entropy', 'kappa']
    assert names(
        epochs(dict(finite=0.0, skipped_share=100.0)),
        warmup_epochs=2) == ['finite', 'skipped_share']


def test_a_student_is_judged_when_it_has_been_trained_for_the_warm_up(
) -> None:
    waits = dict(student_gradient_norm=None, kappa=0.0)
    history = epochs(waits, waits, waits, dict(kappa=0.0), dict(kappa=0.0))
    assert names(history[:3], warmup_epochs=1) == []
    assert names(history[:4], warmup_epochs=1) == []
    assert names(history, warmup_epochs=1) == ['kappa']


@pytest.mark.parametrize('measure', [
    'selection_rate', 'kappa', 'bn_distance', 'class_entropy',
    'image_diversity', 'feature_diversity', 'generator_gradient_norm'
])
def test_what_a_run_does_not_have_is_not_judged(measure: str) -> None:
    assert names(epochs({measure: None}, {measure: None})) == []


def test_a_threshold_can_be_changed_or_left_out() -> None:
    poor = epochs(dict(class_entropy=0.2))
    assert names(poor, min_class_entropy=0.1) == []
    assert names(poor, min_class_entropy=None) == []
    with pytest.raises(UserError, match="no 'max_kappa'.*'min_kappa'"):
        Thresholds.of(dict(max_kappa=1.0))
