"""tools/compare_algorithms.py, as a user calls it."""
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

DIGITS = 'configs/tadfkd/resnet18w16_to_resnet18w8_digits.py'


def test_a_comparison_goes_on_from_its_record(run_tool_process: Callable[
    ..., subprocess.CompletedProcess], tiny_options: dict[str, Any],
                                              tmp_path: Path) -> None:
    path, page = tmp_path / 'record.json', tmp_path / 'page.md'
    page.write_text('<!-- comparison --><!-- end of comparison -->')

    def compare(*arguments: object) -> str:
        return run_tool_process('compare_algorithms.py', *arguments,
                                '--record', path, '--work-dir',
                                tmp_path).stdout

    options = [f'{key}={value}' for key, value in tiny_options.items()]
    run = (DIGITS, '--seeds', 5, '--cfg-options', *options)
    assert compare(*run).startswith('1 runs to do')
    records = json.loads(path.read_text())
    assert [record['seed'] for record in records] == [5]
    summary = records[0]['summary']
    assert summary['finished'] and summary['seed'] == 5
    assert records[0]['command'].startswith(
        f'python tools/train.py {DIGITS} --seed 5 --cfg-options ')

    assert compare(*run, '--page', page).strip() == '0 runs to do'
    assert json.loads(path.read_text()) == records
    assert f'{summary["student_top1_last"]:.2f} ± 0.00' in page.read_text()


def test_a_path_that_no_record_should_hold_is_one_line(
        run_tool_process: Callable[..., subprocess.CompletedProcess],
        tmp_path: Path) -> None:
    process = run_tool_process(
        'compare_algorithms.py',
        tmp_path / 'a.py',
        '--record',
        tmp_path / 'record.json',
        check=False,
        forked=False)
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1].endswith('name it as configs/...')
    assert not (tmp_path / 'record.json').exists()
