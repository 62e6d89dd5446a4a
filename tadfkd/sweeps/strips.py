"""A figure: does a result depend on which teacher a method gets?"""
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from tadfkd.utils.files import write_atomically

#: Label in the legend, marker and colour of a dot.
Style = tuple[str, str, str]


def draw_strips(rows: Mapping[str, Mapping[str, float | None]],
                path: str | os.PathLike,
                label: str,
                style: Callable[[str], Style] | None = None) -> None:
    """Draw one strip per row, with a dot per teacher, the best row on top.

    Args:
        rows: Percent by row and teacher; None is a teacher without a
            result, which is a cross at 0.
        path: The PNG file to write.
        label: Of the axis.
        style: Of a teacher's dot; a label that several teachers share stands
            once in the legend. The default is a colour per teacher.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    names = [*dict.fromkeys(name for row in rows.values() for name in row)]
    ordered = sorted(
        rows.items(),
        key=lambda row: min(each or 0 for each in row[1].values()))
    # The legend has about a dozen lines.
    figure = Figure(
        figsize=(9, max(2.6, 0.8 + 0.42 * len(rows))), layout='constrained')
    axes = figure.subplots()
    seen: set[str] = set()
    for height, (_, row) in enumerate(ordered):
        known = [value or 0 for value in row.values()]
        axes.plot((min(known), max(known)), (height, height),
                  color='0.85',
                  linewidth=6,
                  solid_capstyle='round',
                  zorder=0)
        for name, value in row.items():
            place = names.index(name)
            text, marker, colour = style(name) if style else (name,
                                                              'os^Dv'[place //
                                                                      10 % 5],
                                                              f'C{place % 10}')
            if value is None:
                text, marker, colour = 'no result', 'x', 'red'
            axes.scatter(
                value or 0,
                height,
                s=42 if colour.startswith('C') else 20,
                color=colour,
                marker=marker,
                # The cross is on the edge.
                clip_on=value is not None,
                label=None if text in seen else text)
            seen.add(text)
    axes.set_yticks(range(len(ordered)), [name for name, _ in ordered])
    axes.set(xlim=(0, 104), ylim=(-0.6, len(ordered) - 0.4), xlabel=label)
    axes.grid(axis='x', color='0.9')
    axes.set_axisbelow(True)
    figure.legend(loc='outside right center', frameon=False, fontsize=8)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    write_atomically(Path(path), buffer.getvalue())
