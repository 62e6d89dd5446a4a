"""Runs that are broken on purpose are ended, and others are left alone."""
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.health_cases import BROKEN, CASES, HEALTHY, Case
from benchmarks.health_runs import run_case, table

ROOT = Path(__file__).resolve().parents[2]
RECORD = json.loads((ROOT / 'docs/measured/health_digits.json').read_text())


def case(name: str) -> Case:
    """The first of that name."""
    return next(case for case in (*BROKEN, *HEALTHY) if case.name == name)


def run(name: str, options: dict[str, Any], folder: Path,
        monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run a case with tiny networks, of which more is seen than of others:
    in 16 images of 10 classes no measure of classes means anything."""
    monkeypatch.chdir(ROOT)
    return run_case(
        case(name),
        folder,
        options=options | {
            'train_cfg.max_epochs': 3,
            'train_dataloader.dataset.num_steps': 6,
            'model.batch_size': 32,
            'default_hooks.summary.num_images': 128
        })


@pytest.mark.parametrize('name, measure', [
    ('dead generator', 'image_diversity'),
    ('student rate 0', 'kappa'),
    ('teacher answers nan from epoch 3', 'skipped_share'),
])
def test_a_broken_run_is_ended_and_the_measure_named(
        name: str, measure: str, tiny_options: dict[str, Any], tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    entry = run(name, tiny_options, tmp_path, monkeypatch)
    assert entry['ended'] and entry['epochs'] == 3
    assert measure in {
        problem.partition(' ')[0]
        for problem in entry['problems']
    }


@pytest.mark.parametrize('name', ['TA-DFKD', 'DFQ'])
def test_a_healthy_run_is_left_alone(name: str, tiny_options: dict[str, Any],
                                     tmp_path: Path,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    entry = run(name, tiny_options, tmp_path, monkeypatch)
    assert entry['problems'] == [] and not entry['ended']
    assert entry['epochs'] == 3


def test_the_record_has_cases_that_went_as_they_should() -> None:
    for kind, cases in CASES.items():
        assert len(cases) == 10
        known = [(case.name, case.seed) for case in cases]
        assert RECORD[kind]
        for entry in RECORD[kind]:
            assert (entry['name'], entry['seed']) in known
            assert entry['ended'] == (kind == 'broken'), entry['name']
            assert bool(entry['problems'] or entry['message']) == (
                kind == 'broken')
    assert all(run['problems'] == [] for run in RECORD['whole']['runs'])


def test_the_page_has_the_table_of_the_record() -> None:
    assert table(RECORD) in (ROOT / 'docs/health.md').read_text()


def test_the_page_tells_the_default_of_each_threshold() -> None:
    from tadfkd.evaluation.health_rules import Thresholds
    rows = [
        line for line in (ROOT / 'docs/health.md').read_text().splitlines()
        if line.startswith('| `')
    ]
    for name, value in vars(Thresholds()).items():
        measure = name.removeprefix('min_').removeprefix('max_')
        row, = (row for row in rows if f'{measure}`' in row.split('|')[1])
        sign = '<' if name.startswith('min_') else '>'
        limits = row.split('|')[4].replace('1e-6',
                                           '1e-06').replace('1e4', '10000.0')
        assert f'{sign} {value:g}' in limits or f'{sign} {value}' in limits
