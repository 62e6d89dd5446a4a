"""The figures of the pages are those of the records."""
import re
from pathlib import Path

import pytest

from benchmarks.tables import pages, with_tables

ROOT = Path(__file__).resolve().parents[2]
MEASURED = ROOT / 'docs/measured'


@pytest.mark.parametrize(
    'page', pages(ROOT), ids=lambda page: f'{page.parent.name}/{page.name}')
def test_a_page_has_the_tables_of_the_records(page: Path) -> None:
    text = page.read_text()
    assert text == with_tables(text, MEASURED)
    for name in re.findall(r'docs/measured/([a-z]\w+)', text):
        assert (MEASURED / name / 'run.sh').is_file(), name
