"""The page of what was measured."""
import json
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / 'docs'
RECORD = json.loads((DOCS / 'measured/step_2_cores.json').read_text())


@pytest.mark.parametrize('name', RECORD)
def test_the_page_has_the_figures_of_the_record(name: str) -> None:
    report = RECORD[name]
    lines = (DOCS / 'performance.md').read_text().splitlines()
    row = next(line for line in lines if line.startswith(f'| `{name}` |'))
    cells = [cell.strip() for cell in row.strip('|').split('|')]
    student = report['steps']['student']
    assert cells[1:] == [
        f'{report["framework_s"]:.2f}',
        f'{report["framework_over_bare"]:.3f}',
        f'{report["framework_over_floor"]:.3f}',
        f'{student["framework_s"]:.3f}',
        f'{report["steps"]["generator"]["framework_s"]:.3f}',
        f'{student["passes"]["teacher forward"]["seconds"]:.3f}',
        f'{student["passes"]["student update"]["seconds"]:.3f}',
        f'{report["rounds"]:.2f}',
        f'{report["gflops"]:.0f} of {report["gflops_peak"]:.0f}',
        f'{report["peak_memory_mib"]:.0f}',
    ]
