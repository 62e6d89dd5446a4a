"""A check of a teacher, from every kind of source."""
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from tiny_networks import classifier

from tadfkd.apis import check_teacher
from tadfkd.apis.teacher_check import recommended_config
from tadfkd.classifiers.build import build_classifier
from tadfkd.errors import UserError
from tadfkd.evaluation import teacher_page
from tadfkd.registry import MODELS
from tadfkd.teachers.sources import teacher_from


@pytest.fixture
def classifier_config(tmp_path: Path) -> str:
    """The config of a tiny mmpretrain classifier."""
    path = tmp_path / 'classifier.py'
    Config(dict(model=classifier(in_channels=3))).dump(path)
    return str(path)


@pytest.mark.parametrize('source, kind, field, value', [
    ('resnet18_8xb16_cifar10', 'MMPretrainTeacher', 'model', None),
    ('mmpretrain::resnet/resnet18_8xb16_cifar10.py', 'MMPretrainTeacher',
     'model', None),
    ('timm::resnet18', 'MMPretrainTeacher', 'model', None),
    ('transformers::folder', 'MMPretrainTeacher', 'model', None),
    ('torchvision::vgg11', 'TorchvisionTeacher', 'model', 'vgg11'),
    ('my.module:make', 'ModuleTeacher', 'factory', None),
    ('a/teacher.pt', 'TorchScriptTeacher', 'checkpoint', None),
    ('a/teacher.onnx', 'ONNXTeacher', 'checkpoint', None),
    (torch.nn.Identity, 'ModuleTeacher', 'factory',
     'torch.nn.modules.linear:Identity'),
    (torch.nn.Identity(), 'ModuleTeacher', 'factory', '<live object>'),
])
def test_one_value_names_a_teacher(source: Any, kind: str, field: str,
                                   value: str | None) -> None:
    found = teacher_from(source)
    assert found['type'] == kind
    assert found[field] == (value or source)


def test_a_teacher_alone_gets_parts_of_ours(classifier_config: str) -> None:
    report = check_teacher(
        classifier_config,
        options={'model.teacher.input_size': 10},
        batch_size=4,
        repeats=1)
    assert report.problems == []
    assert report.facts['input_size'] == ((10, 10), 'set in model.teacher')
    # No generator makes 10 x 10.
    assert 'generated images of 12 x 12 are resized' in report.notes
    assert 'the weights are random' in report.notes
    assert report.steps is not None and report.steps.batch_size == 4
    assert report.top1 is None


def test_the_weights_and_the_student_are_those_named(classifier_config: str,
                                                     tmp_path: Path) -> None:
    network = build_classifier(classifier(in_channels=3))
    torch.save(network.state_dict(), tmp_path / 'teacher.pth')
    report = check_teacher(
        classifier_config,
        checkpoint=str(tmp_path / 'teacher.pth'),
        student='shufflenet-v2-1x_16xb64_in1k',
        options={'model.teacher.input_size': 8},
        batch_size=2,
        repeats=1)
    assert 'teacher.pth' in str(report.facts['weights'][0])
    student = build_classifier(
        dict(
            type='ImageClassifier',
            backbone=dict(type='ShuffleNetV2', widen_factor=1.0),
            head=dict(type='LinearClsHead', num_classes=5, in_channels=1024)))
    assert report.num_student_parameters == sum(
        value.numel() for value in student.parameters())


def test_a_config_is_checked_with_its_own_parts_and_data(
        digits_config: str, tiny_options: dict[str, Any]) -> None:
    report = check_teacher(digits_config, options=tiny_options, repeats=1)
    assert report.top1 is not None and report.top1 > 50
    assert report.verdict == 'OK'
    assert report.steps is not None and report.steps.batch_size == 8
    page = teacher_page(report)
    for name, (_, source) in report.facts.items():
        assert any(
            line.startswith(name) and line.endswith(source)
            for line in page.splitlines())
    assert f'{report.top1:.2f} %' in page and '16 x 16' in page
    assert page.splitlines()[-1] == 'OK'
    assert json.loads(json.dumps(report.as_dict()))['top1'] == report.top1

    report = check_teacher(
        digits_config, options=tiny_options, min_top1=100, repeats=1)
    assert 'unusable: top-1' in report.verdict
    # No steps are tried with a teacher that cannot be used.
    assert report.steps is None


def test_what_cannot_be_found_out_names_the_field(
        classifier_config: str) -> None:
    with pytest.raises(UserError, match='set model.teacher.input_size'):
        check_teacher(classifier_config)


@pytest.mark.parametrize('num_parameters, width', [
    (10**5, 8),
    (700_000, 8),
    (950_000, 16),
    (21_000_000, 64),
])
def test_the_default_student_is_smaller_than_the_teacher(
        num_parameters: int, width: int) -> None:
    teacher = dict(
        type='MMPretrainTeacher',
        model=classifier(),
        input_size=16,
        allow_random_weights=True)
    facts = MODELS.build(teacher).facts
    student = recommended_config(teacher, facts, num_parameters).model.student
    assert student.backbone.base_channels == width
    network = build_classifier(student.to_dict(), 'model.student')
    assert network(torch.rand(2, 1, 16, 16)).shape == (2, 5)
