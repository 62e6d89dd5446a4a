"""Rules that tell a healthy run from a collapsed one."""
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from tadfkd.errors import UserError, nearest
from tadfkd.utils.annotations import check_arguments

Entry = dict[str, Any]


@dataclass(frozen=True)
class Thresholds:
    """Limits that the measures of a healthy epoch keep.

    Each limit is for the measure of the same name in ``history.json``. None
    disables the limit. ``docs/health.md`` compares the defaults with runs.

    Attributes:
        min_finite: Percent of held-out images, in [0, 100].
        max_skipped_share: Percent of an epoch's steps, in [0, 100].
        min_selection_rate: Percent of the candidates, in [0, 100].
        min_class_entropy: In [0, 1].
        min_image_diversity: In [0, 0.5].
        min_feature_diversity: In [0, 1].
        min_kappa: In [-1, 1]. The warm-up of this limit counts only epochs
            that train the student.
        min_gradient_norm: Gradient norm of each network, >= 0.
        max_gradient_norm: Gradient norm of each network, >= 0.
        max_bn_growth: Batch-norm distance, as a multiple of the smallest
            distance of the run so far, >= 1.
    """

    min_finite: float | None = 99.0
    max_skipped_share: float | None = 25.0
    min_selection_rate: float | None = 5.0
    min_class_entropy: float | None = 0.3
    min_image_diversity: float | None = 0.02
    min_feature_diversity: float | None = 0.02
    min_kappa: float | None = 0.05
    min_gradient_norm: float | None = 1e-6
    max_gradient_norm: float | None = 1e4
    max_bn_growth: float | None = 4.0

    @classmethod
    def of(cls, values: dict[str, Any]) -> 'Thresholds':
        """Thresholds of a config, and defaults for those it does not name.

        Raises:
            UserError: If a name is unknown, or a value is not a number.
        """
        known = [field.name for field in fields(cls)]
        for name in values.keys() - {*known}:
            raise UserError(f'thresholds of the HealthHook have no '
                            f'{name!r}: {nearest(name, known)}')
        check_arguments('default_hooks.health.thresholds', cls, values)
        return cls(**values)


def find_problems(epochs: Sequence[Entry], thresholds: Thresholds,
                  warmup_epochs: int) -> list[str]:
    """Find the measures of the newest epoch that are beyond their limits.

    ``finite`` and ``skipped_share`` are judged from the first epoch on, all
    other measures after the warm-up, because a network with random weights
    looks collapsed.

    Args:
        epochs: Entries of ``history.json``, at least one, the newest last.
        thresholds: The limits.
        warmup_epochs: Number of epochs in the warm-up, >= 0.

    Returns:
        One clause per problem, which begins with the name of the measure.
    """
    newest = epochs[-1]
    measured = {
        name: value
        for name, value in newest.items() if value is not None
    }
    limits = vars(thresholds)
    judged = ['finite', 'skipped_share']
    if newest['epoch'] > warmup_epochs:
        judged += ['selection_rate', 'class_entropy', 'image_diversity']
        judged += ['feature_diversity', 'bn_growth']
        judged += [name for name in measured if name.endswith('gradient_norm')]
    # Some algorithms train only the generator in their first epochs.
    if sum(entry.get('student_gradient_norm') is not None
           for entry in epochs) > warmup_epochs:
        judged.append('kappa')
    distances = [
        entry['bn_distance'] for entry in epochs
        if entry['bn_distance'] is not None
    ]
    if 'bn_distance' in measured and min(distances) > 0:
        measured['bn_growth'] = measured['bn_distance'] / min(distances)

    problems = []
    for name in judged:
        if name not in measured:
            continue
        rule = 'gradient_norm' if name.endswith('gradient_norm') else name
        least = limits.get(f'min_{rule}')
        most = limits.get(f'max_{rule}')
        if least is not None and measured[name] < least:
            problems.append(f'{name} is {measured[name]:.3g}, below {least}')
        if most is not None and measured[name] > most:
            problems.append(f'{name} is {measured[name]:.3g}, above {most}')
    return problems
