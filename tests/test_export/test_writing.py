"""What student/ holds, and that it is compared with the run."""
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from safetensors.torch import load_file
from tiny_networks import classifier
from torch import nn

from tadfkd.algorithms import BaseDFKD
from tadfkd.errors import UserError
from tadfkd.export import FORMAT_NAMES, load_student, write_student
from tadfkd.export.formats import FORMATS
from tadfkd.export.writing import NUM_IMAGES
from tadfkd.networks.averaging import AveragedNetwork

MakeRun = Callable[..., tuple[BaseDFKD, Config]]


def names(folder: Path) -> set[str]:
    """All files in a folder."""
    return {path.name for path in folder.iterdir()}


def read(folder: Path) -> dict[str, Any]:
    """The content of ``config.json``."""
    return json.loads((folder / 'config.json').read_text())


def test_config_json_says_all_that_a_user_of_the_weights_needs(
        run_dir: Path) -> None:
    content = read(run_dir / 'student')
    assert content['architecture']['backbone']['base_channels'] == 4
    assert content['num_classes'] == 10
    assert content['classes'] == [*'0123456789']
    assert content['image_size'] == [16, 16]
    assert content['channels'] == 1
    assert content['channel_order'] == 'rgb'
    assert content['mean_255'] == [77.7] and content['std_255'] == [81.2]
    assert content['mean'] == [pytest.approx(77.7 / 255)]
    assert content['std'] == [pytest.approx(81.2 / 255)]
    assert content['teacher']['type'] == 'MMPretrainTeacher'
    # A file without its folder, as the student may be published.
    assert Path(content['teacher']['checkpoint']).parts == (
        content['teacher']['checkpoint'], )
    assert content['seed'] == 0
    assert content['versions']['torch'] == torch.__version__


def test_config_json_has_the_parity_of_every_format(run_dir: Path) -> None:
    parity = read(run_dir / 'student')['parity']
    assert parity.keys() == {*FORMAT_NAMES}
    del parity['onnx-int8']
    for name, entry in parity.items():
        assert entry['same_class_share'] == 1, name
        assert 0 <= entry['largest_difference'] < 1e-4, name


def shift_logits(monkeypatch: pytest.MonkeyPatch, shift: float) -> None:
    """Let the TorchScript file answer with an error."""
    form = FORMATS['torchscript']

    def write(*arguments: Any) -> tuple:
        files, classify = form.write(*arguments)
        return files, lambda images_BCHW: classify(images_BCHW) + shift

    monkeypatch.setitem(FORMATS, 'torchscript', form._replace(write=write))


@pytest.mark.parametrize('shift', [2e-3, float('nan')])
def test_a_file_with_other_logits_is_refused_and_nothing_is_written(
        shift: float, make_run: MakeRun, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    shift_logits(monkeypatch, shift)
    with pytest.raises(
            UserError, match='format torchscript differ .* 0.001 is allowed'):
        write_student(*make_run(classifier()), tmp_path, ['torchscript'])
    assert names(tmp_path) == set()


def test_a_small_difference_is_noted(make_run: MakeRun, tmp_path: Path,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    shift_logits(monkeypatch, 5e-4)
    write_student(*make_run(classifier()), tmp_path, ['torchscript'])
    found = read(tmp_path)['parity']['torchscript']['largest_difference']
    assert found == pytest.approx(5e-4, rel=0.01)


def test_larger_logits_may_differ_in_proportion(
        make_run: MakeRun, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    model, config = make_run(classifier())
    with torch.no_grad():
        model.student.head.fc.bias.copy_(torch.linspace(-200, 200, 5))
    # The deviation of five numbers from -200 to 200 is 141.
    shift_logits(monkeypatch, 0.1)
    assert write_student(model, config, tmp_path, ['torchscript']) == []


def test_an_optional_format_that_fails_is_left_out(
        make_run: MakeRun, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    model, config = make_run(classifier())
    # torch.export cannot trace a branch that depends on values.
    forward = nn.BatchNorm2d.forward
    monkeypatch.setattr(
        nn.BatchNorm2d, 'forward',
        lambda self, maps_BCHW: forward(self, maps_BCHW)
        if maps_BCHW.sum() < 1e9 else maps_BCHW)
    with pytest.raises(UserError, match='cannot be written as torch.export'):
        write_student(model, config, tmp_path)
    assert names(tmp_path) == set()
    [problem] = write_student(
        model, config, tmp_path, optional=['torch.export'])
    assert 'cannot be written as torch.export' in problem
    assert names(tmp_path) == {'model.safetensors', 'config.json'}
    assert load_student(tmp_path)(torch.rand(2, 1, 8, 8)).shape == (2, 5)


def test_files_of_other_weights_are_removed(make_run: MakeRun,
                                            tmp_path: Path) -> None:
    model, config = make_run(classifier())
    always = {'model.safetensors', 'config.json'}
    write_student(model, config, tmp_path, ['torchscript'])
    write_student(model, config, tmp_path, ['mmpretrain'])
    both = {'student.ts.pt', 'student.pth', 'student_mmpretrain.py'} | always
    assert names(tmp_path) == both
    assert read(tmp_path)['parity'].keys() == {
        'safetensors', 'torchscript', 'mmpretrain'
    }
    with torch.no_grad():
        model.student.head.fc.bias.add_(1)
    write_student(model, config, tmp_path, ['mmpretrain'])
    assert names(tmp_path) == both - {'student.ts.pt'}
    assert read(tmp_path)['parity'].keys() == {'safetensors', 'mmpretrain'}


def test_a_format_that_is_unknown_is_refused(make_run: MakeRun,
                                             tmp_path: Path) -> None:
    with pytest.raises(UserError, match="got 'tflite'"):
        write_student(*make_run(classifier()), tmp_path, ['tflite'])


def test_the_model_does_not_change(make_run: MakeRun, tmp_path: Path) -> None:
    model, config = make_run(classifier())
    model.train()
    before = {
        name: value.clone()
        for name, value in model.state_dict().items()
    }
    streams = model.streams.state_dict()
    write_student(model, config, tmp_path, [])
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert model.student.training
    assert model.streams.state_dict().keys() == streams.keys()


@pytest.mark.parametrize(
    'student,size,channels', [
        (dict(
            type='ImageClassifier',
            backbone=dict(type='tadfkd.WideResNet', depth=10, widen_factor=1),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=5,
                      in_channels=64)), None, 3),
        (dict(type='TimmClassifier', model_name='test_resnet',
              num_classes=5), 40, 3),
        (classifier(in_channels=3) | dict(
            data_preprocessor=dict(
                mean=[90.0, 100.0, 110.0],
                std=[50.0, 60.0, 70.0],
                to_rgb=False)), 16, 3),
        ('resnet18_8xb16_cifar10', 12, 1),
    ],
    ids=['ours', 'timm', 'bgr', 'grey'])
def test_any_student_leaves_as_it_is(student: dict | str, size: int | None,
                                     channels: int, make_run: MakeRun,
                                     tmp_path: Path) -> None:
    model, config = make_run(
        student,
        student_input_size=size,
        teacher=dict(
            type='MMPretrainTeacher',
            model=classifier(in_channels=channels),
            input_size=8,
            allow_random_weights=True),
        generator=dict(
            type='UpsamplingGenerator',
            latent_size=6,
            image_size=8,
            image_channels=channels,
            width=4))
    # The logits of untrained students are nearly equal.
    with torch.no_grad():
        for parameter in model.student.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    write_student(model, config, tmp_path, ['torchscript', 'mmpretrain'])
    images_BCHW = torch.rand(3, channels, 8, 8)
    model.eval()
    with torch.no_grad():
        expected_BK = model.result_logits(images_BCHW)
        assert expected_BK.std(0).min() > 1e-4
        for found in (load_student(tmp_path),
                      torch.jit.load(tmp_path / 'student.ts.pt')):
            torch.testing.assert_close(
                found(images_BCHW), expected_BK, rtol=1e-4, atol=1e-4)


def test_the_average_leaves_with_the_scale_of_its_logits(
        make_run: MakeRun, tmp_path: Path) -> None:
    model, config = make_run(classifier())
    model.average = AveragedNetwork(model.student)
    model.scale_targets = True
    model.register_buffer('logit_scale', torch.tensor(3.0))
    with torch.no_grad():
        model.average.module.head.fc.bias.add_(torch.arange(5.0))
    write_student(model, config, tmp_path, [])
    weights = load_file(tmp_path / 'model.safetensors')
    assert weights['head.fc.bias'].equal(model.average.module.head.fc.bias)
    images_BCHW = torch.rand(NUM_IMAGES, 1, 8, 8)
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(
            load_student(tmp_path)(images_BCHW),
            model.result_logits(images_BCHW))
    assert read(tmp_path)['logit_scale'] == 3
