"""The curves of a run as a picture."""
import io
import os
from typing import Any

from tadfkd.utils.files import write_atomically


def draw_curves(history: dict[str, Any], path: str | os.PathLike) -> None:
    """Draw accuracy, agreement, selection rate and BN distance by epoch.

    Args:
        history: ``teacher_top1`` (percent or None) and ``epochs``, a list
            with one dictionary per epoch, as in ``history.json``.
        path: The PNG file to write.
    """
    # pyplot would choose a back end and keep every figure in memory.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout='constrained')
    left, middle = figure.subplots(1, 2)
    right = middle.twinx()

    def plot(axes: Any, key: str, label: str, colour: str) -> list:
        points = [(entry['epoch'], entry[key]) for entry in history['epochs']
                  if entry.get(key) is not None]
        return axes.plot(*zip(*points), label=label, color=colour) \
            if points else []

    plot(left, 'student_top1', 'student, real test images', 'tab:blue')
    plot(left, 'agreement', 'agreement, held-out synthetic images',
         'tab:orange')
    if history['teacher_top1'] is not None:
        left.axhline(
            history['teacher_top1'],
            label='teacher, real test images',
            color='tab:gray',
            linestyle='--')
    left.set(xlabel='epoch', ylabel='percent', ylim=(None, 101))
    if left.lines:
        left.legend(loc='lower right')
    left.grid(alpha=0.3)
    lines = plot(middle, 'selection_rate', 'selection rate', 'tab:green')
    lines += plot(right, 'bn_distance', 'BN distance', 'tab:red')
    middle.set(xlabel='epoch', ylabel='percent', ylim=(0, 101))
    right.set(ylabel='BN distance', ylim=(0, None))
    if lines:
        middle.legend(handles=lines, loc='lower right')
    middle.grid(alpha=0.3)

    picture = io.BytesIO()
    FigureCanvasAgg(figure).print_png(picture)
    write_atomically(path, picture.getvalue())
