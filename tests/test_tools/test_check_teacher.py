"""tools/check_teacher.py, as a user calls it."""
import json
import subprocess
from collections.abc import Callable
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
    assert report['steps']['iteration_seconds'] > 0


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
