"""Students by name or by model dict, with the teacher's class count."""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from tiny_networks import classifier, save_hugging_face

from tadfkd.classifiers.outputs import classifier_logits
from tadfkd.classifiers.student import build_student
from tadfkd.errors import UserError

IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


def write_config(path: Path, model: dict, **others: object) -> str:
    """A config of a classifier."""
    Config(dict(model=model, **others)).dump(path)
    return str(path)


@pytest.mark.parametrize('name, layer', [
    ('resnet18_8xb16_cifar10', 'head.fc'),
    ('deit-tiny_4xb256_in1k', 'head.layers.head'),
])
def test_a_student_of_the_zoo_gets_a_head_for_the_classes(
        name: str, layer: str) -> None:
    network, adapter, _ = build_student(name, 7)
    assert network.get_submodule(layer).out_features == 7
    size = 32 if 'cifar' in name else 224
    assert adapter.input_size == (size, size)
    with torch.no_grad():
        logits_BK = classifier_logits(network, adapter(torch.rand(2, 3, 8, 8)))
    assert logits_BK.shape == (2, 7)


def test_a_student_that_classifies_in_its_backbone_gets_the_classes(
        tmp_path: Path) -> None:
    # VGG and AlexNet do so too, but the smallest has 60 million weights.
    path = write_config(
        tmp_path / 'lenet.py',
        dict(
            type='ImageClassifier',
            backbone=dict(type='LeNet5', num_classes=10),
            neck=None,
            head=dict(type='ClsHead')),
        test_dataloader=dict(
            dataset=dict(
                type='MNIST', pipeline=[dict(type='Resize', scale=32)])))
    network, adapter, _ = build_student(path, 7)
    assert adapter.input_size == (32, 32)
    assert classifier_logits(network, adapter(torch.rand(2, 1, 8,
                                                         8))).shape == (2, 7)


@pytest.mark.parametrize('student', [
    'timm::test_resnet',
    dict(type='TimmClassifier', model_name='test_resnet'),
])
def test_a_student_of_timm_gets_the_classes(student: str | dict) -> None:
    pytest.importorskip('timm')
    network, adapter, _ = build_student(student, 7)
    assert classifier_logits(network, adapter(torch.rand(2, 3, 32,
                                                         32))).shape == (2, 7)
    # The student is trained here, so timm's normalisation does not apply.
    torch.testing.assert_close(
        adapter(torch.full((1, 3, 4, 4), 0.75)), torch.full((1, 3, 4, 4), 0.5))


@pytest.mark.parametrize('is_named', [True, False])
def test_a_student_of_hugging_face_gets_the_classes(tmp_path: Path,
                                                    is_named: bool) -> None:
    pytest.importorskip('transformers')
    trained = save_hugging_face(tmp_path)
    student = f'transformers::{tmp_path}' if is_named else dict(
        type='HuggingFaceClassifier', model_name=str(tmp_path))
    network, adapter, _ = build_student(student, 7)
    assert classifier_logits(network, adapter(torch.rand(2, 3, 32,
                                                         32))).shape == (2, 7)
    # None of the weights beside the config are taken.
    name = 'resnet.embedder.embedder.convolution.weight'
    assert not torch.equal(
        network.model.get_parameter(name), trained.get_parameter(name))


def test_a_model_dict_keeps_the_classes_that_it_has() -> None:
    pytest.importorskip('timm')
    for student in (classifier(num_classes=4),
                    dict(
                        type='TimmClassifier',
                        model_name='test_resnet',
                        num_classes=4,
                        in_chans=1)):
        network, adapter, _ = build_student(student, 7)
        assert classifier_logits(network,
                                 adapter(torch.rand(2, 1, 32,
                                                    32))).shape == (2, 4)


def test_a_name_without_class_count_names_the_field() -> None:
    with pytest.raises(
            UserError,
            match='model.student names resnet18_8xb16_cifar10.*set '
            'model.num_classes'):
        build_student('resnet18_8xb16_cifar10', None)
    network, _, _ = build_student(classifier(), None)
    assert network.head.fc.out_features == 5


@pytest.mark.parametrize('size, expected', [(24, (24, 24)),
                                            ([20, 24], (20, 24))])
def test_a_size_of_the_users_wins(size: object, expected: tuple) -> None:
    for student in ('resnet18_8xb16_cifar10', classifier(in_channels=3)):
        network, adapter, _ = build_student(student, 7, size)
        assert adapter.input_size == expected
        assert adapter(torch.rand(1, 3, 8, 8)).shape[2:] == expected


def test_a_config_is_normalised_and_ordered_as_it_says(tmp_path: Path) -> None:
    model = classifier(in_channels=3)
    del model['data_preprocessor']
    path = write_config(
        tmp_path / 'bgr.py',
        model,
        data_preprocessor=dict(to_rgb=False, **IMAGENET),
        test_dataloader=dict(
            dataset=dict(
                type='ImageNet',
                pipeline=[
                    dict(type='LoadImageFromFile'),
                    dict(type='CenterCrop', crop_size=8)
                ])))
    _, adapter, _ = build_student(path, 7)
    images_BCHW = torch.rand(2, 3, 8, 8)
    mean_C, std_C = (
        np.array(IMAGENET[name])[:, None, None] for name in ('mean', 'std'))
    np.testing.assert_allclose(
        adapter(images_BCHW),
        (255 * images_BCHW.numpy()[:, ::-1] - mean_C) / std_C,
        rtol=1e-4,
        atol=1e-5)


def test_a_named_student_loads_no_weights_of_its_own(tmp_path: Path) -> None:
    model = classifier(in_channels=3)
    model['backbone']['init_cfg'] = [
        dict(type='Kaiming', layer=['Conv2d']),
        dict(type='Pretrained', checkpoint=str(tmp_path / 'missing.pth'))
    ]
    network, _, _ = build_student(
        write_config(tmp_path / 'pretrained.py', model), 7)
    # Would raise FileNotFoundError.
    network.init_weights()
    assert network.backbone.init_cfg == [
        dict(type='Kaiming', layer=['Conv2d'])
    ]
