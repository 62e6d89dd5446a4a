"""Several algorithms on one task, over several seeds: records and a table."""
import os
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tadfkd.utils.files import write_atomically

#: What a table of results in a page lies between.
BEGIN, END = '<!-- comparison -->', '<!-- end of comparison -->'
_COLUMNS = ('config', 'seeds', 'student, last epoch', 'worst seed',
            'mean of the last {k}', 'best epoch (extra)', 'agreement',
            'student steps', 'generator steps', 'images generated', 'seconds')


def comparison_table(records: Iterable[dict[str, Any]]) -> str:
    """One row a config, best mean of the last epoch first, in Markdown.

    Args:
        records: Each with ``config`` (path), ``seed`` and ``summary`` (of a
            run, as in its ``summary.json``).

    Returns:
        A table. Accuracies and agreement in percent; mean and population
        standard deviation over seeds (0 for one seed); other figures are
        means over seeds. All runs were evaluated.
    """
    by_config: dict[str, list[dict]] = {}
    for record in records:
        by_config.setdefault(record['config'], []).append(record)
    rows = [_row(config, runs) for config, runs in by_config.items()]
    rows.sort(key=lambda row: -row[0])
    last_k = {
        record['summary']['last_k']
        for runs in by_config.values()
        for record in runs
    }
    columns = [
        column.format(k=' or '.join(map(str, sorted(last_k))))
        for column in _COLUMNS
    ]
    lines = [columns, ['---'] * len(columns), *(cells for _, cells in rows)]
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines)


def _row(config: str, runs: list[dict]) -> tuple[float, list[str]]:
    """The figure that rows are sorted by, and the cells."""
    runs = sorted(runs, key=lambda run: run['seed'])
    summaries = [run['summary'] for run in runs]

    def mean(name: str) -> float:
        return statistics.fmean(summary[name] for summary in summaries)

    last = [summary['student_top1_last'] for summary in summaries]
    centre, spread = statistics.fmean(last), statistics.pstdev(last)
    return centre, [
        f'`{config.removeprefix("configs/")}`',
        ', '.join(str(run['seed'])
                  for run in runs), f'{centre:.2f} ± {spread:.2f}',
        f'{min(last):.2f}', f'{mean("student_top1_last_k_mean"):.2f}',
        f'{max(summary["student_top1_max"] for summary in summaries):.2f}',
        f'{mean("agreement_last"):.1f}', f'{mean("student_steps"):.0f}',
        f'{mean("generator_steps"):.0f}', f'{mean("images_generated"):.0f}',
        f'{mean("wall_seconds"):.0f}'
    ]


def rewrite_table(page: str | os.PathLike, table: str) -> None:
    """Put another table between the marks of a file; see
    :func:`replace_table`."""
    text = replace_table(Path(page).read_text(), table)
    write_atomically(page, text.encode())


def replace_table(page: str, table: str) -> str:
    """The page with another table between its marks.

    Raises:
        ValueError: If the page has no such marks.
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f'the page has no {BEGIN} ... {END}')
    return f'{head}{BEGIN}\n\n{table}\n\n{END}{tail}'
