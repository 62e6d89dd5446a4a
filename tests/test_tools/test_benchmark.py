"""tools/benchmark.py, as a user calls it."""
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DIGITS = 'configs/tadfkd/resnet18w16_to_resnet18w8_digits.py'


def narrow(options: dict[str, Any]) -> list[str]:
    """Those of the model, as on a command line; steps and epochs are the
    benchmark's own."""
    return [
        f'{key}={value}' for key, value in options.items()
        if key.startswith('model.')
    ]


@pytest.mark.parametrize('amp', [False, True])
def test_a_step_is_measured(run_tool_process: Callable[
    ..., subprocess.CompletedProcess], shared_tiny_options: dict[str, Any],
                            tmp_path: Path, amp: bool) -> None:
    options = narrow(shared_tiny_options)
    path = tmp_path / 'figures.json'
    process = run_tool_process('benchmark.py', 'step', DIGITS, '--iterations',
                               2, '--warmup', 1, '--threads', 1, '--json',
                               path, *['--amp'] * amp, '--cfg-options',
                               *options)
    report = json.loads(path.read_text())
    for key in ('framework_s', 'bare_s', 'floor_s', 'framework_over_bare',
                'framework_over_floor', 'images_per_second', 'peak_memory_mib',
                'gflops', 'gflops_peak', 'outside_s', 'warmup_s'):
        assert report[key] > 0, key
    assert report['dtype'] == ('bfloat16' if amp else 'float32')
    assert report['threads'] == 1 and report['iterations'] == 2
    assert report['batch_size'] == 8
    assert f'| whole iteration | {report["framework_s"]:.4f} |' \
        in process.stdout
    for step in report['steps'].values():
        parts = sum(row['times'] * row['gflop']
                    for row in step['passes'].values())
        assert parts > 0


def test_another_algorithm_is_one_line(
        run_tool_process: Callable[..., subprocess.CompletedProcess]) -> None:
    process = run_tool_process(
        'benchmark.py',
        'step',
        'configs/dfad/resnet18w16_to_resnet18w8_digits.py',
        check=False)
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1].endswith(
        'got a config of DFAD: name one of configs/tadfkd/')


def test_an_algorithm_is_profiled(run_tool_process: Callable[
    ..., subprocess.CompletedProcess], shared_tiny_options: dict[str, Any],
                                  tmp_path: Path) -> None:
    options = narrow(shared_tiny_options)
    trace = tmp_path / 'trace.json'
    output = run_tool_process(
        'benchmark.py', 'profile',
        'configs/dfad/resnet18w16_to_resnet18w8_digits'
        '.py', '--iterations', 2, '--warmup', 1, '--threads', 1, '--trace',
        trace, '--cfg-options', *options).stdout
    assert '| student step | 2.0 |' in output
    assert '| generator step | 1.0 |' in output
    assert '| aten::mkldnn_convolution |' in output
    events = json.loads(trace.read_text())['traceEvents']
    assert sum(event.get('name') == 'student step' for event in events) == 4


def test_growth_is_measured(run_tool_process: Callable[
    ..., subprocess.CompletedProcess], shared_tiny_options: dict[str, Any],
                            tmp_path: Path) -> None:
    options = narrow(shared_tiny_options)
    path = tmp_path / 'growth.json'
    output = run_tool_process('benchmark.py', 'scale', DIGITS, '--iterations',
                              2, '--warmup', 1, '--threads', 1, '--json', path,
                              '--repeats', 2, '--batch-sizes', 4, 8,
                              '--class-counts', 5, 7, '--cfg-options',
                              *options).stdout
    report = json.loads(path.read_text())
    assert report['batch_size']['sizes'] == [4, 8]
    assert report['num_classes']['sizes'] == [5, 7]
    assert all(report[axis]['seconds'][0] > 0
               for axis in ('batch_size', 'num_classes'))
    assert report['commit']
    assert f'scale {DIGITS} --iterations 2' in report['command']
    assert '| num_classes | seconds |' in output


def test_one_size_is_one_line(
        run_tool_process: Callable[..., subprocess.CompletedProcess]) -> None:
    process = run_tool_process(
        'benchmark.py', 'scale', DIGITS, '--batch-sizes', 8, check=False)
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1].endswith('name more of them')


def test_memory_is_measured(run_tool_process: Callable[
    ..., subprocess.CompletedProcess], shared_tiny_options: dict[str, Any],
                            tmp_path: Path) -> None:
    options = narrow(shared_tiny_options)
    path = tmp_path / 'memory.json'
    output = run_tool_process(
        'benchmark.py',
        'memory',
        DIGITS,
        '--iterations',
        20,
        '--warmup',
        0,
        '--threads',
        1,
        '--json',
        path,
        '--cfg-options',
        *options,
        forked=False).stdout
    report = json.loads(path.read_text())
    assert report['iterations'] == [2, 10, 20]
    peaks = report['peak_memory_mib']
    assert 0 < peaks[0] <= peaks[1] <= peaks[2]
    assert f'| 20 | {peaks[2]:.1f} |' in output
