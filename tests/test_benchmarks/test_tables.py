"""The figures of the pages are those of the records."""
import json
import re
import statistics
from pathlib import Path

import pytest

from benchmarks.tables import TABLES, pages, with_tables

ROOT = Path(__file__).resolve().parents[2]
MEASURED = ROOT / 'docs/measured'


@pytest.mark.parametrize(
    'page', pages(ROOT), ids=lambda page: f'{page.parent.name}/{page.name}')
def test_a_page_has_the_tables_of_the_records(page: Path) -> None:
    text = page.read_text()
    assert text == with_tables(text, MEASURED)
    for name in re.findall(r'docs/measured/([a-z]\w+)', text):
        assert (MEASURED / name / 'run.sh').is_file(), name


def test_every_table_is_on_a_page_and_every_record_has_its_script() -> None:
    text = ''.join(page.read_text() for page in pages(ROOT))
    assert all(f'<!-- table {name} -->' in text for name in TABLES)
    for folder in MEASURED.iterdir():
        assert (folder / 'run.sh').is_file(), folder
        assert (folder / 'record.json').is_file(), folder


def test_means_of_three_seeds_are_those_of_the_record() -> None:
    runs = json.loads((MEASURED / 'algorithms_digits/record.json').read_text())
    checked = 0
    for page in (ROOT / 'configs').glob('*/README.md'):
        for config, mean in re.findall(
                r'`(\w+\.py)` .*?(\d\d\.\d\d) \(mean of seeds 0 to 2\)',
                page.read_text()):
            path = f'configs/{page.parent.name}/{config}'
            last = [
                run['summary']['student_top1_last'] for run in runs
                if run['config'] == path
            ]
            assert len(last) == 3
            assert f'{statistics.fmean(last):.2f}' == mean, path
            checked += 1
    assert checked > 15
