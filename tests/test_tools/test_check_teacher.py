"""tools/check_teacher.py, as a user calls it."""
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

DIGITS = 'configs/tadfkd/resnet18w16_to_resnet18w8_digits.py'


def as_arguments(options: dict[str, Any]) -> list[str]:
    """Options as ``--cfg-options`` takes them."""
    return [
        '--cfg-options', *(f'{key}={value}' for key, value in options.items())
    ]


def test_a_good_teacher_ends_with_0_and_json(
        run_tool_process: Callable[..., subprocess.CompletedProcess],
        tiny_options: dict[str, Any]) -> None:
    process = run_tool_process('check_teacher.py', DIGITS, '--json',
                               *as_arguments(tiny_options))
    report = json.loads(process.stdout)
    assert report['verdict'] == 'OK'
    assert report['top1'] > 50
    assert report['steps']['generator_seconds'] > 0


def test_a_bad_teacher_ends_with_1_and_says_why(
        run_tool_process: Callable[..., subprocess.CompletedProcess],
        tiny_options: dict[str, Any], tiny_teacher_checkpoint: str) -> None:
    process = run_tool_process(
        'check_teacher.py',
        DIGITS,
        '--checkpoint',
        tiny_teacher_checkpoint,
        '--min-top1',
        '100',
        *as_arguments(tiny_options),
        check=False)
    assert process.returncode == 1
    assert process.stdout.splitlines()[-1].startswith('unusable: top-1 is ')


def test_a_teacher_that_cannot_be_built_is_one_line(run_tool_process: Callable[
    ..., subprocess.CompletedProcess], tmp_path: Path) -> None:
    (tmp_path / 'teacher.pth').write_text('no checkpoint')
    process = run_tool_process(
        'check_teacher.py',
        'resnet18_8xb16_cifar10',
        '--checkpoint',
        tmp_path / 'teacher.pth',
        '--json',
        check=False)
    assert process.returncode == 1
    verdict = json.loads(process.stdout)['verdict']
    assert verdict.startswith('unusable: teacher checkpoint')
    assert process.stderr.splitlines()[-1].startswith('error: teacher ')
    assert 'Traceback' not in process.stderr
