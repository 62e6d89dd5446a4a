"""Runs of a comparison, its record and its table."""
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.comparison import compare, comparison_table
from tadfkd.errors import UserError


def test_a_run_in_the_record_does_not_run_again(
        digits_config: str, tiny_options: dict[str, Any], tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path('leaf.py').write_text(f"_base_ = '{digits_config}'\n")
    options = tiny_options | {'train_cfg.max_epochs': 1}
    first = compare(['leaf.py'], [5], 'record.json', options, tmp_path)
    assert compare(['leaf.py'], [5], 'record.json', options) == first
    assert json.loads(Path('record.json').read_text()) == first
    assert first[0]['seed'] == first[0]['summary']['seed'] == 5
    assert first[0]['summary']['finished']
    assert first[0]['command'].startswith(
        'python tools/train.py leaf.py --seed 5 --cfg-options ')
    printed = capfd.readouterr().out
    assert '1 runs to do' in printed and '0 runs to do' in printed


def test_a_record_that_is_not_json_is_named(tmp_path: Path) -> None:
    record = tmp_path / 'record.json'
    record.write_text('{')
    with pytest.raises(UserError, match='record.json is not JSON'):
        compare([], [0], record)
    assert record.read_text() == '{'


def record(config: str, seed: int, last: float) -> dict:
    """Of a run whose best epoch is two points above its last."""
    return dict(
        config=f'configs/{config}.py',
        seed=seed,
        summary=dict(
            student_top1_last=last,
            student_top1_last_k_mean=last - 1,
            last_k=10,
            student_top1_max=last + 2,
            agreement_last=50.0 + seed,
            student_steps=500,
            generator_steps=100,
            images_generated=6400,
            wall_seconds=80.0 + 10 * seed))


def test_a_row_has_the_last_epoch_of_all_seeds_and_the_best_as_an_extra(
) -> None:
    table = comparison_table([
        record('a/x', 2, 90.0),
        record('a/x', 0, 80.0),
        record('a/x', 1, 88.0)
    ])
    # Mean 86; deviations -6, 2 and 4, so the variance is 56 / 3.
    assert table.splitlines()[2] == (
        '| `a/x.py` | 0, 1, 2 | 86.00 ± 4.32 | 80.00 | 85.00 | 92.00 | 51.0 | '
        '500 | 100 | 6400 | 90 |')
