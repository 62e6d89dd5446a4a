"""Checking mmpretrain's zoo, one process a model."""
import json
import re
import shutil
from pathlib import Path

import pytest

from benchmarks.zoo import (ZooModel, check_zoo, smallest_of_each_family,
                            zoo_models)
from benchmarks.zoo_page import write_teachers_page
from tadfkd.errors import UserError

NAME = 'shufflenet-v2-1x_16xb64_in1k'


def test_the_zoo_is_all_of_mmpretrains_classifiers() -> None:
    from mmpretrain import list_models
    models = zoo_models()
    assert [model.name
            for model in models] == list_models(task='Image Classification')
    families = {model.name: model.family for model in models}
    assert families[NAME] == 'ShuffleNetV2 / LinearClsHead'
    unreadable = [model.name for model in models if model.error]
    assert unreadable and all('replknet-31b' in name for name in unreadable)


def test_the_smallest_stands_for_its_family() -> None:
    models = [
        ZooModel('b', 'B / H', 2),
        ZooModel('a-large', 'A / H', 9),
        ZooModel('a-small', 'A / H', 1),
        ZooModel('unknown', 'A / H', float('inf')),
        ZooModel('broken', '-', 0, 'SyntaxError'),
    ]
    assert [model.name
            for model in smallest_of_each_family(models)] == ['a-small', 'b']


def test_a_family_is_run_written_down_and_not_run_again(
        tmp_path: Path) -> None:
    record = tmp_path / 'measured' / 'teacher_zoo.json'
    lines: list[str] = []
    check_zoo(record, ['ShuffleNetV2'], all_configs=True, report=lines.append)
    assert len(lines) == 2
    results = json.loads(record.read_text())
    run = results['run'][NAME]
    assert run['error'] is None and run['verdict'] == 'OK with notes'
    assert run['facts']['input_size'][0] == [224, 224]
    assert run['num_bn_seen'] == 56
    assert 0 < run['steps']['generator_gradient'] < float('inf')
    assert run['steps']['batch_size'] == 2
    built = results['configs'][NAME]
    assert built['error'] is None and built['num_classes'] == 1000
    assert built['input_size'] == '224 x 224'
    assert any('replknet-31b' in name for name in results['unreadable'])

    lines.clear()
    check_zoo(record, ['ShuffleNetV2'], all_configs=True, report=lines.append)
    assert lines == []

    write_teachers_page(tmp_path)
    page = (tmp_path / 'teachers.md').read_text()
    row, = [line for line in page.splitlines() if NAME in line]
    assert row.startswith('| ShuffleNetV2 / LinearClsHead |')
    assert '224 x 224' in row and ' 56 ' in row
    assert '1 of 5 names are accepted' in page


@pytest.mark.parametrize('limits, end', [
    (dict(time_limit=0.5), 'not done in 0.5 s'),
    (dict(memory_limit=0.05), 'Memory|died|allocate'),
])
def test_a_model_that_takes_too_much_is_a_row_too(tmp_path: Path, limits: dict,
                                                  end: str) -> None:
    results = check_zoo(
        tmp_path / 'zoo.json', ['VGG'], report=lambda _: None, **limits)
    outcome, = results['run'].values()
    assert re.search(end, outcome['error'])


def test_results_of_other_versions_are_not_kept(tmp_path: Path) -> None:
    record = tmp_path / 'zoo.json'
    old = dict(
        versions=dict(torch='1.0'), run={'some': dict(error=None)}, configs={})
    record.write_text(json.dumps(old))
    results = check_zoo(record, ['VGG'], time_limit=0.1, report=lambda _: None)
    assert 'some' not in results['run']


def test_the_page_in_the_documentation_is_that_of_the_records(
        tmp_path: Path) -> None:
    docs = Path(__file__).resolve().parents[2] / 'docs'
    shutil.copytree(docs / 'measured', tmp_path / 'measured')
    write_teachers_page(tmp_path)
    assert (tmp_path /
            'teachers.md').read_text() == (docs / 'teachers.md').read_text()


def test_a_misspelt_family_is_answered_with_the_nearest(
        tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'LeViT'"):
        check_zoo(tmp_path / 'zoo.json', ['LeVit'])
