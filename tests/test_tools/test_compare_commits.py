"""tools/misc/compare_commits.py, as a user calls it."""
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., subprocess.CompletedProcess]

DIGITS = 'configs/tadfkd/resnet18w16_to_resnet18w8_digits.py'


def test_steps_of_two_commits_are_compared(run_tool_process: Run,
                                           shared_tiny_options: dict[str, Any],
                                           tmp_path: Path) -> None:
    path = tmp_path / 'figures.json'
    options = [f'{key}={value}' for key, value in shared_tiny_options.items()]
    output = run_tool_process('misc/compare_commits.py', 'HEAD', DIGITS,
                              '--steps', 2, '--repeats', 1, '--json', path,
                              '--variant', 'plain', '--variant', 'folded',
                              'model.teacher.fold_bn=True', '--cfg-options',
                              *options).stdout
    kinds = json.loads(path.read_text())['kinds']
    assert [*kinds] == ['commit HEAD', 'plain', 'folded']
    assert kinds['folded']['options']['model.teacher.fold_bn'] is True
    assert all(len(kind['runs'][0]['seconds']) == 2 for kind in kinds.values())
    # The same code draws the same images and keeps as many of them.
    assert kinds['commit HEAD']['runs'][0]['rounds'] == \
        kinds['plain']['runs'][0]['rounds']
    first, plain = (
        kinds[name]['runs'][0]['seconds'] for name in ('commit HEAD', 'plain'))
    assert kinds['plain']['times_as_fast'] == sum(first) / sum(plain)
    assert 'commit HEAD: ' in output and 'plain: ' in output


def test_a_commit_that_is_not_there_is_one_line(run_tool_process: Run) -> None:
    process = run_tool_process(
        'misc/compare_commits.py',
        'not-a-commit',
        DIGITS,
        check=False,
        forked=False)
    assert process.returncode == 1
    assert process.stderr.startswith('error: not-a-commit cannot be checked ')
