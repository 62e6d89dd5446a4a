"""Whether what was measured of an epoch is that of a run that can work."""
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from tadfkd.errors import UserError, nearest

Entry = dict[str, Any]


@dataclass(frozen=True)
class Thresholds:
    """Where a measure of an epoch begins to tell of a collapse.

    Each is for the measure of the same name in ``history.json``; None leaves
    it out. The defaults are far from what healthy runs have shown, see
    ``docs/health.md``.

    Attributes:
        min_finite: Percent of held-out images, in [0, 100].
        max_skipped_share: Percent of an epoch's steps, in [0, 100].
        min_selection_rate: Percent of the candidates, in [0, 100].
        min_class_entropy: In [0, 1].
        min_image_diversity: In [0, 0.5].
        min_feature_diversity: In [0, 1].
        min_kappa: In [-1, 1]; judged once the student has been trained for
            the warm-up.
        min_gradient_norm: Of each network, >= 0.
        max_gradient_norm: Likewise.
        max_bn_growth: Batch-norm distance, as a multiple of the least of the
            run so far, >= 1.
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
        """Those of a config; what it does not name has its default.

        Raises:
            UserError: If there is no such threshold, or it is no number.
        """
        known = [field.name for field in fields(cls)]
        for name, value in values.items():
            if name not in known:
                raise UserError(f'thresholds of the HealthHook have no '
                                f'{name!r}: {nearest(name, known)}')
            if value is not None and (not isinstance(value, int | float)
                                      or isinstance(value, bool)):
                raise UserError(f'{name} must be a number or None, got '
                                f'{value!r}: set default_hooks.health.'
                                f'thresholds.{name}')
        return cls(**values)


def find_problems(epochs: Sequence[Entry], thresholds: Thresholds,
                  warmup_epochs: int) -> list[str]:
    """What is wrong with the newest epoch.

    Numbers that are not finite are found from the first epoch on, everything
    else after the warm-up: networks of random weights look collapsed.

    Args:
        epochs: Entries of ``history.json``, the newest last, at least one.
        thresholds: What is too little or too much.
        warmup_epochs: Epochs that are not judged, >= 0.

    Returns:
        A clause for each measure that is beyond its threshold, which begins
        with its name.
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
    # Some algorithms begin with epochs that only generate.
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
