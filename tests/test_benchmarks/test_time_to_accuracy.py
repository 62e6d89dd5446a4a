"""The time until a student is good enough."""
from pathlib import Path
from typing import Any

import pytest

from benchmarks import time_to_accuracy
from benchmarks.time_to_accuracy import (benchmark_times, draw_times, reached,
                                         timed_run, times_table)
from tadfkd.errors import UserError


def entry(method: str, fast: bool, *points: tuple[int, float, float],
          **changes: Any) -> dict[str, Any]:
    return dict(
        task='digits',
        method=method,
        fast=fast,
        seed=0,
        teacher_top1=80.0,
        points=points) | changes


@pytest.mark.parametrize('share, evaluations', [(0.01, 1), (1.5, 2)])
def test_a_run_ends_when_its_student_is_good_enough(
        digits_config: str, tiny_options: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch, share: float,
        evaluations: int) -> None:
    monkeypatch.setattr(time_to_accuracy, 'SHARE', share)
    found = timed_run(digits_config, tiny_options, True, 3, 1)
    assert found['seed'] == 3 and found['fast']
    steps, seconds, top1 = zip(*found['points'])
    assert len(steps) == evaluations
    assert [*steps] == sorted(steps) and [*seconds] == sorted(seconds)
    assert 0 < found['teacher_top1'] <= 100 and 0 <= max(top1) <= 100
    assert (reached(found) is not None) == (share < 1)


def test_the_table_says_when_and_the_picture_is_drawn(tmp_path: Path) -> None:
    entries = [
        entry('NAYER', False, (10, 5.0, 20.0), (20, 10.0, 77.6),
              (30, 15.0, 80.0)),
        entry('NAYER', False, (10, 5.0, 20.0), seed=1),
        entry('NAYER', True, (10, 3.0, 79.0)),
        entry('TA-DFKD', False, (10, 5.0, 20.0)),
        entry(
            'NAYER',
            False, (10, 7.0, 79.0),
            machine=dict(instructions=['avx2', 'amx_bf16']))
    ]
    lines = times_table(entries).splitlines()
    assert lines[2:] == [
        '| digits | NAYER | 0, 1 | 10 (1 of 2 runs) | 3 | 20 (1 of 2 runs) | '
        '10 |', '| digits | TA-DFKD | 0 | never | - | never | - |',
        '| digits, amx_bf16 | NAYER | 0 | 7 | - | 10 | - |'
    ]
    draw_times(entries, tmp_path / 'times.png')
    assert (tmp_path / 'times.png').stat().st_size > 5000


def test_a_wrong_name_is_answered_before_any_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no method 'NAYR'.*'NAYER'"):
        benchmark_times(None, ['NAYR'], [0], 1, tmp_path / 'record.json', None)
    assert not [*tmp_path.iterdir()]
