"""The table of a comparison, from records that a test can add up."""
import json
from pathlib import Path

import pytest

from tadfkd.apis.comparison import BEGIN, END, comparison_table, replace_table

ROOT = Path(__file__).resolve().parents[2]


def record(config: str, seed: int, last: float) -> dict:
    """Of a run whose best epoch is two points above its last."""
    return dict(
        config=f'configs/{config}.py',
        seed=seed,
        summary=dict(
            student_top1_last=last,
            student_top1_last_k_mean=last - 1,
            last_k=10,
            student_top1_max=last + 2,
            agreement_last=50.0 + seed,
            student_steps=500,
            generator_steps=100,
            images_generated=6400,
            wall_seconds=80.0 + 10 * seed))


def test_a_row_has_the_last_epoch_of_all_seeds_and_the_best_as_an_extra(
) -> None:
    table = comparison_table([
        record('a/x', 2, 90.0),
        record('a/x', 0, 80.0),
        record('a/x', 1, 88.0)
    ])
    # Mean 86; deviations -6, 2 and 4, so the variance is 56 / 3.
    assert table.splitlines()[2] == (
        '| `a/x.py` | 0, 1, 2 | 86.00 ± 4.32 | 80.00 | 85.00 | 92.00 | 51.0 | '
        '500 | 100 | 6400 | 90 |')


def test_rows_are_sorted_by_the_mean_of_the_last_epoch() -> None:
    table = comparison_table([
        record('a/low', 0, 20.0),
        record('b/high', 0, 90.0),
        record('c/middle', 0, 50.0)
    ])
    names = [line.split('`')[1] for line in table.splitlines()[2:]]
    assert names == ['b/high.py', 'c/middle.py', 'a/low.py']


def test_only_what_is_between_the_marks_is_replaced() -> None:
    page = f'before\n\n{BEGIN}\n\nold\n\n{END}\n\nafter\n'
    assert replace_table(
        page,
        '| new |') == (f'before\n\n{BEGIN}\n\n| new |\n\n{END}\n\nafter\n')
    with pytest.raises(ValueError, match='the page has no'):
        replace_table('before', '| new |')


def test_the_page_of_results_has_the_tables_of_the_records() -> None:
    page = (ROOT / 'docs/results.md').read_text()
    records, longer = (
        json.loads((ROOT / f'docs/measured/{name}.json').read_text())
        for name in ('algorithms_digits', 'algorithms_digits_long'))
    assert page == replace_table(page, comparison_table(records))
    assert comparison_table(longer) in page
    for entry in records + longer:
        assert (ROOT / entry['config']).is_file()
        assert 'dirty' not in entry['commit']
