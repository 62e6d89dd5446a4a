"""Methods by teachers: equal steps, one row per method, failures stay in."""
import json
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from PIL import Image

from benchmarks.comparison import Run as Planned
from benchmarks.comparison import comparison_table, complete
from benchmarks.teachers import (METHODS, RECIPES, STUDENT_STEPS, TEACHERS,
                                 draw_robustness, judge, judge_by_others,
                                 judging_table, planned_runs, robustness_table,
                                 shares_table)
from tadfkd.apis import load_config
from tadfkd.errors import UserError
from tadfkd.utils.shipped import find_config

VIT = 'configs/teachers/vitw64_digits.py'


@pytest.mark.parametrize('method', METHODS)
def test_all_methods_have_the_same_student_steps(method: str) -> None:
    [run] = planned_runs([method], ['vitw64'], [0])
    config = load_config(run.config, run.options, teacher=run.teacher)
    assert config.model.teacher.model.backbone.type == 'VisionTransformer'
    if method == 'VanillaKD':
        # 1198 real digits.
        assert config.train_dataloader.batch_size == 128
        assert config.train_cfg.max_epochs * 10 == STUDENT_STEPS
        return
    assert config.model.batch_size == 128
    iterations = (
        config.train_cfg.max_epochs * config.train_dataloader.dataset.num_steps
        - config.model.get('warmup_iterations', 0))
    steps = iterations * config.model.get('num_student_steps', 1)
    assert steps == (2250 if '2250' in method else STUDENT_STEPS)


def test_fashion_mnist_has_its_own_configs() -> None:
    runs = planned_runs(['AgnosticDFKD', 'DAFL', 'TA-DFKD'],
                        ['vitw64 fashion_mnist'], [0])
    for run in runs:
        config = load_config(run.config, run.options, teacher=run.teacher)
        assert config.model.teacher.input_size == 28
        assert config.dataset_name == 'fashion_mnist'
        assert (config.model.num_student_steps * config.train_cfg.max_epochs *
                config.train_dataloader.dataset.num_steps) == 2500
    assert [run.setting for run in runs] == ['AgnosticDFKD', 'TA-DFKD']


def test_each_recipe_trains_another_teacher() -> None:
    assert len(TEACHERS) == 24
    ends = set()
    base = load_config(TEACHERS['resnet18w16']).to_dict()
    for recipe in RECIPES:
        config = load_config(TEACHERS[f'resnet18w16 {recipe}'])
        checkpoint = Path(config.teacher.checkpoint)
        # Where training writes it.
        assert checkpoint.parent == Path(config.work_dir)
        assert checkpoint.stem == f'epoch_{config.train_cfg.max_epochs}'
        assert find_config(config.teacher.recipe).samefile(
            TEACHERS[f'resnet18w16 {recipe}'])
        ends.add(checkpoint)
        different = {
            key
            for key, value in config.to_dict().items() if value != base[key]
        }
        assert different - {'teacher', 'work_dir'}, recipe
        init_default_scope('mmpretrain')
        model = MODELS.build(config.model)
        loader = Runner.build_dataloader(config.train_dataloader)
        data = model.data_preprocessor(next(iter(loader)), training=True)
        assert model(**data, mode='loss')['loss'].isfinite()
    assert len(ends) == len(RECIPES)


@pytest.mark.parametrize(('methods', 'teachers', 'message'),
                         [(['NAYR'], ['vitw64'], 'no method .*NAYER'),
                          (['NAYER'], ['vit64'], 'no teacher .*vitw64')])
def test_an_unknown_name_is_a_user_error(methods: list[str],
                                         teachers: list[str],
                                         message: str) -> None:
    with pytest.raises(UserError, match=message):
        planned_runs(methods, teachers, [0])


def entry(method: str, teacher: str, seed: int, top1: float | None) -> dict:
    """Of a record; the teacher has 80 %. None is for a run that failed."""
    result: dict[str, Any] = dict(error='it failed') if top1 is None else dict(
        summary=dict(
            student_top1_last=top1,
            student_top1_max=top1 + 4 * seed,
            teacher_top1=80.0))
    return dict(setting=method, teacher=TEACHERS[teacher], seed=seed) | result


def test_tables_have_shares_of_the_teacher_and_failures_as_chance() -> None:
    records = [
        entry('DAFL', 'vitw64', 0, None),
        entry('DAFL', 'vgg11', 0, 76.0),
        entry('AgnosticDFKD', 'vitw64', 0, 60.0),
        entry('AgnosticDFKD', 'vitw64', 1, 68.0),
        entry('AgnosticDFKD', 'vgg11', 0, 80.0),
        entry('AgnosticDFKD', 'resnet18w16 adam', 0, 40.0),
    ]
    assert robustness_table(records).splitlines()[2:] == [
        '| nine kinds | AgnosticDFKD | 2 of 9 | 1 or 2 | 90.0 | 10.0 | '
        '80.0 (vitw64) | 5.0 |',
        '| nine kinds | DAFL | 2 of 9 | 1 | 52.5 | 42.5 | 10.0 (vitw64) | '
        '0.0 |',
        '| eight recipes | AgnosticDFKD | 1 of 8 | 1 | 50.0 | 0.0 | '
        '50.0 (resnet18w16 adam) | 0.0 |',
    ]
    assert shares_table(records).splitlines() == [
        '| teacher | AgnosticDFKD | DAFL |', '| --- | --- | --- |',
        '| vgg11 | 100.0 | 95.0 |', '| vitw64 | 80.0 (worst 75.0) | 10.0 |',
        '| resnet18w16 adam | 50.0 | - |'
    ]


def test_measures_without_data_are_ranked_against_the_accuracy(
        tmp_path: Path) -> None:
    records = [
        entry('DAFL', teacher, 0, top1)
        | dict(judged=dict(kappa=top1 / 100, nuclear_norm=-top1))
        for teacher, top1 in zip(TEACHERS, (20.0, 50.0, 30.0, 70.0))
    ]
    for record, agreement in zip(records, (10.0, 20.0, 30.0, 40.0)):
        record['summary']['agreement_last'] = agreement
    # A failed run is left out, and one run of a method says nothing.
    records += [
        entry('DFQ', 'vitw64', 0, None), records[0] | dict(setting='CMI')
    ]
    # The others of a run can only lower its worst kappa.
    records[0]['judged']['kappa_others'] = 0.1
    assert judging_table(records).splitlines()[2:] == [
        '| kappa | 5 | 1.00 | 1.00 | - |',
        '| kappa others | 2 | - | - | - |',
        '| worst kappa | 5 | 1.00 | 1.00 | - |',
        '| nuclear norm | 5 | -1.00 | -1.00 | - |',
        '| agreement | 5 | 0.89 | 0.80 | - |',
    ]
    draw_robustness(records, tmp_path / 'strips.png')
    with Image.open(tmp_path / 'strips.png') as strips:
        assert len(strips.convert('RGB').getcolors(9999)) > 50


class InThisProcess(Executor):
    """Makes each run at once: a new process takes ten seconds to start."""

    def __init__(self, jobs: int, mp_context: object) -> None:
        """Take what a ProcessPoolExecutor takes."""

    def submit(self, function: Any, *arguments: Any, **_: Any) -> Future:
        future: Future = Future()
        try:
            future.set_result(function(*arguments))
        except UserError as error:
            future.set_exception(error)
        return future


def test_runs_are_made_once_and_failures_are_kept(
        tiny_options: dict[str, Any], tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('benchmarks.comparison.ProcessPoolExecutor',
                        InThisProcess)
    config = 'configs/tadfkd/resnet18w16_to_resnet18w8_digits.py'
    runs = [
        Planned(config, 0, tiny_options, setting='TA-DFKD'),
        Planned(config, 1, tiny_options, setting='TA-DFKD'),
        # Its checkpoint is not there.
        Planned(config, 0, {'model.teacher.checkpoint': 'no.pth'}, VIT,
                'TA-DFKD')
    ]
    record = tmp_path / 'record.json'
    entries = complete(
        runs, record, tmp_path / 'runs', then=judge, keep_failures=True)
    assert json.loads(record.read_text()) == entries
    made, other, failed = entries
    assert made['summary']['student_steps'] == 8
    assert made['command'].startswith(
        f'python tools/train.py {config} --seed 0 --cfg-options model.')
    assert -1 <= made['judged']['kappa'] <= 1
    assert 0 < made['judged']['nuclear_norm'] <= 1
    assert 'no.pth' in failed['error'] and 'summary' not in failed
    assert f' --teacher {VIT} ' in failed['command']
    # Without the files of the runs nothing more can be said.
    assert judge_by_others(runs, record, tmp_path / 'nowhere') == entries
    made, other, failed = judge_by_others(runs, record, tmp_path / 'runs')
    for judged in (made['judged'], other['judged']):
        assert -1 <= judged['kappa_others'] <= 1
    entries = json.loads(record.read_text())
    assert entries == [made, other, failed]
    # Only the run that failed is tried again, and now its error counts.
    with pytest.raises(UserError, match='no.pth'):
        complete(runs, record, tmp_path / 'runs')
    assert json.loads(record.read_text()) == entries
    assert len([*(tmp_path / 'runs').rglob('*.log')]) == 2


def test_the_table_of_a_comparison_tells_teachers_apart() -> None:
    summary = dict.fromkeys(
        ('student_top1_last', 'student_top1_last_k_mean', 'student_top1_max',
         'agreement_last', 'student_steps', 'generator_steps',
         'images_generated', 'wall_seconds', 'last_k'), 1)
    own = dict(config='configs/dafl/a.py', seed=0, summary=summary)
    table = comparison_table([own, own | dict(teacher=VIT)])
    assert '| `dafl/a.py` | 0 |' in table
    assert '| `dafl/a.py` from `vitw64_digits` | 0 |' in table
