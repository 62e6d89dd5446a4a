"""The table of a sweep: no run is missing, whatever became of it."""
import csv
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tadfkd.errors import UserError
from tadfkd.sweeps.collecting import collect, plot_sweep, sweep_table


def made(out: Path,
         path: str,
         state: str | None = 'finished',
         reason: str = '',
         **summary: Any) -> None:
    """Write what a run leaves."""
    folder = out / path
    folder.mkdir(parents=True)
    if state is not None:
        (folder / 'status.json').write_text(
            json.dumps(dict(state=state, reason=reason)))
    if summary:
        kappa = summary.pop('kappa')
        (folder / 'history.json').write_text(
            json.dumps(
                dict(epochs=[dict(kappa=0), dict(kappa=kappa)])))
        (folder / 'summary.json').write_text(
            json.dumps(
                dict(teacher_top1=None, student_top1_last=None) | summary))


def test_a_table_has_all_runs_of_a_sweep(tmp_path: Path) -> None:
    made(tmp_path, 'vit/dafl_a/seed_0', 'failed', 'no | file')
    made(tmp_path, 'vit/dafl_a/seed_1', None)
    # A run that was killed says that it is running.
    made(tmp_path, 'vit/dafl_a/seed_2', 'running')
    made(
        tmp_path,
        'vgg/dafl_a/seed_0',
        teacher_top1=80.0,
        student_top1_last=60.0,
        agreement_last=90.0,
        kappa=0.5)
    made(
        tmp_path,
        'vgg/dafl_a/seed_1',
        teacher_top1=80.0,
        student_top1_last=70.0,
        agreement_last=94.0,
        kappa=0.7,
        unhealthy_epochs=[3, 4])
    # Its numbers are of an epoch before the end.
    made(
        tmp_path,
        'vgg/dafl_a/seed_2',
        'unhealthy',
        'collapsed',
        teacher_top1=80.0,
        student_top1_last=1.0,
        agreement_last=1.0,
        kappa=0)
    runs = collect(tmp_path)
    assert sweep_table(runs).split('\n') == [
        '| teacher | config | top-1 ± std (worst) | % of teacher ± std (worst)'
        ' | agreement ± std (worst) | kappa ± std (worst) | finished | health '
        '|', '| --- | --- | --- | --- | --- | --- | --- | --- |',
        '| vgg | dafl_a | 65.00 ± 5.00 (60.00) | 81.2 ± 6.2 (75.0) | '
        '92.0 ± 2.0 (90.0) | 0.600 ± 0.100 (0.500) | 2 of 3 | seed 1 '
        'unhealthy in epoch 3, 4; seed 2 unhealthy: collapsed |',
        '| vit | dafl_a | - | - | - | - | 0 of 3 | seed 0 failed: no \\| file;'
        ' seed 1 waiting; seed 2 interrupted: it was killed |'
    ]
    plot_sweep(runs, tmp_path / 'strips.png')
    with Image.open(tmp_path / 'strips.png') as strips:
        # The mean of one teacher, and the cross of the other.
        colours = {
            colour
            for _, colour in strips.convert('RGB').getcolors(9999)
        }
    assert {(31, 119, 180), (255, 0, 0)} <= colours


def test_settings_are_rows_and_data_free_runs_have_agreement(
        tmp_path: Path) -> None:
    for size in (8, 16):
        made(
            tmp_path,
            f'vgg/a/model.batch_size={size}/seed_0',
            agreement_last=float(size),
            kappa=None)
    table = sweep_table(collect(tmp_path), 'csv')
    assert [*csv.reader(table.split('\n'))] == [
        [
            'teacher', 'config', 'setting', 'agreement', 'agreement std',
            'agreement worst', 'finished', 'health'
        ],
        [
            'vgg', 'a', 'model.batch_size=16', '16.0', '0.0', '16.0', '1 of 1',
            'healthy'
        ],
        [
            'vgg', 'a', 'model.batch_size=8', '8.0', '0.0', '8.0', '1 of 1',
            'healthy'
        ],
    ]


def test_a_folder_without_runs_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / 'a/b/seed_x').mkdir(parents=True)
    with pytest.raises(UserError, match='has no run in TEACHER/CONFIG/seed_N'):
        collect(tmp_path)
    made(tmp_path, 'vit/a/seed_0')
    (tmp_path / 'vit/a/seed_0/status.json').write_text('{')
    with pytest.raises(UserError, match='is not JSON'):
        collect(tmp_path)
