"""The figures of the pages are those of the files that they come from."""
import re
from pathlib import Path

import pytest

from benchmarks.tables import pages, with_tables

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / 'docs'


@pytest.mark.parametrize(
    'page', pages(ROOT), ids=lambda page: f'{page.parent.name}/{page.name}')
def test_a_page_has_the_tables_of_its_files(page: Path) -> None:
    text = page.read_text()
    assert text == with_tables(text, DOCS)
    for name in re.findall(r'docs/measured/([a-z]\w+)', text):
        assert (DOCS / 'measured' / name / 'run.sh').is_file(), name
