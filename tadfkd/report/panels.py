"""The measures of a run as curves for a page: where each line and dot is.

matplotlib would take about a second per page, which is long for an epoch of a
small run.
"""
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

#: Size of a panel, and the edges of its axes.
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 420, 230, 46, 412, 10, 206

Thresholds = dict[str, float | None]


class Panel(NamedTuple):
    """Curves that share their axes.

    Attributes:
        title: What the curves are.
        curves: Label of each curve by its key in an epoch or in its losses.
        low: Least end of the vertical axis; None takes that of the values.
        high: Likewise.
        is_log: Whether the vertical axis is logarithmic.
    """

    title: str
    curves: dict[str, str]
    low: float | None = None
    high: float | None = None
    is_log: bool = False


def _panels(epochs: Sequence[dict]) -> list[Panel]:
    keys = {key: None for entry in epochs for key in entry}
    losses = {key: None for entry in epochs for key in entry.get('losses', {})}
    networks = dict.fromkeys(key.partition('_')[0] for key in losses)
    return [
        Panel(
            'Accuracy and agreement, percent',
            dict(
                student_top1='student, real images',
                teacher_top1='teacher, real images',
                agreement='agreement, generated images'),
            high=100),
        Panel(
            'Usable images and steps, percent',
            dict(
                selection_rate='selection rate',
                finite='finite images',
                skipped_share='skipped steps'), 0, 100),
        Panel('Classes, and agreement beyond chance',
              dict(class_entropy='class entropy', kappa='kappa'), 0, 1),
        Panel(
            'Diversity',
            dict(
                image_diversity='images',
                feature_diversity="teacher's features"), 0),
        Panel('Batch-norm distance', dict(bn_distance='distance'), 0),
        Panel(
            'Gradient norms', {
                key: key.removesuffix('_gradient_norm')
                for key in keys if key.endswith('_gradient_norm')
            }, None, None, True), *(Panel(
                f'Losses of the {network}', {
                    key: key.removeprefix(f'{network}_')
                    for key in losses if key.startswith(f'{network}_')
                }) for network in networks)
    ]


def draw_panels(history: dict[str, Any],
                thresholds: Thresholds) -> list[dict[str, Any]]:
    """Place all curves of a run.

    Args:
        history: ``teacher_top1`` (percent or None) and ``epochs``, a list
            with one dictionary per epoch, as in ``history.json``.
        thresholds: Fields of a
            :class:`~tadfkd.evaluation.health_rules.Thresholds`.

    Returns:
        For each panel that has a value: its ``title``; ``ticks_x`` and
        ``ticks_y``, positions and texts; ``bands``, positions and widths of
        unhealthy epochs; and ``curves`` with label, ``points`` of the line,
        ``dots`` (x, y, text, whether it is beyond its threshold) and
        ``limits`` (y, text).
    """
    epochs = [
        entry | entry.get('losses', {})
        | dict(teacher_top1=history['teacher_top1'])
        for entry in history['epochs']
    ]
    drawn = [_draw(panel, epochs, thresholds) for panel in _panels(epochs)]
    return [panel for panel in drawn if panel['curves']]


def _draw(panel: Panel, epochs: Sequence[dict],
          thresholds: Thresholds) -> dict[str, Any]:
    curves: list[tuple[str, str, list[tuple[int, float]]]] = []
    for key, label in panel.curves.items():
        points = [(entry['epoch'], entry[key]) for entry in epochs
                  if _is_number(entry.get(key), panel.is_log)]
        if points:
            curves.append((key, label, points))
    if not curves:
        return dict(curves=[])
    limits = {
        key: _limits(key, points, thresholds)
        for key, _, points in curves
    }
    values = [value for _, _, points in curves for _, value in points]
    if not panel.is_log:
        # The limits of gradient norms are far from those of most runs.
        values += [value for each in limits.values() for value, _ in each]
    values += [end for end in (panel.low, panel.high) if end is not None]
    scale = math.log10 if panel.is_log else float
    low, high = scale(min(values)), scale(max(values))
    margin = 0.04 * (high - low) or 0.5
    low, high = low - margin, high + margin
    first, last = epochs[0]['epoch'] - 0.5, epochs[-1]['epoch'] + 0.5

    def x_of(epoch: float) -> float:
        return round(LEFT + (epoch - first) / (last - first) * (RIGHT - LEFT),
                     1)

    def y_of(value: float) -> float:
        share = (scale(value) - low) / (high - low)
        return round(BOTTOM - share * (BOTTOM - TOP), 1)

    bad = {(entry['epoch'], clause.split()[0])
           for entry in epochs
           for clause in entry.get('findings') or ()}
    ticks = [
        10.0**power for power in range(math.ceil(low),
                                       math.floor(high) + 1)
    ] if panel.is_log else _ticks(low, high)
    if panel.is_log and len(ticks) < 2:
        ticks = [tick for tick in _ticks(10**low, 10**high) if tick > 0]
    return dict(
        title=panel.title,
        ticks_x=[(x_of(epoch), f'{epoch:g}')
                 for epoch in _ticks(first, last, 6) if epoch == int(epoch)],
        ticks_y=[(y_of(value), f'{value:g}') for value in ticks],
        bands=[(x_of(epoch - 0.5),
                round(x_of(epoch + 0.5) - x_of(epoch - 0.5), 1))
               for epoch in sorted({epoch
                                    for epoch, _ in bad})],
        curves=[
            dict(
                label=label,
                points=' '.join(f'{x_of(epoch)},{y_of(value)}'
                                for epoch, value in points),
                dots=[(x_of(epoch), y_of(value),
                       f'{label}, epoch {epoch}: {value:.4g}', (epoch,
                                                                _measure(key))
                       in bad) for epoch, value in points],
                limits=[(y_of(value), text) for value, text in limits[key]
                        if low <= scale(value) <= high])
            for key, label, points in curves
        ])


def _is_number(value: Any, is_log: bool) -> bool:
    return value is not None and math.isfinite(value) and \
        (value > 0 or not is_log)


def _measure(key: str) -> str:
    """The measure that the health rules judge."""
    return 'bn_growth' if key == 'bn_distance' else key


def _limits(key: str, points: Sequence[tuple[int, float]],
            thresholds: Thresholds) -> list[tuple[float, str]]:
    """The thresholds of a measure, in units of its curve."""
    rule = 'gradient_norm' if key.endswith('gradient_norm') else _measure(key)
    factor = 1.0
    if key == 'bn_distance':
        factor = min(value for _, value in points)
    return [(factor * limit, f'{name} {factor * limit:.3g}')
            for bound, name in (('min', 'at least'), ('max', 'at most'))
            if (limit := thresholds.get(f'{bound}_{rule}')) is not None]


def _ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers within a range."""
    step = 10**math.floor(math.log10((high - low) / most))
    step *= next(
        factor for factor in (1, 2, 5, 10, 20)
        if (high - low) / (step * factor) <= most)
    return [
        round(number * step, 12) for number in range(
            math.ceil(low / step),
            math.floor(high / step) + 1)
    ]
