"""Configs of classifiers are found, and facts are read from them."""
from pathlib import Path

import pytest
from mmengine.config import Config

from tadfkd.classifiers.configs import (channel_order_of, find_classifier,
                                        input_size_of, normalisation_of,
                                        with_num_classes,
                                        without_pretrained_weights)
from tadfkd.errors import UserError


def test_a_config_file_is_read_with_its_preprocessor(tmp_path: Path) -> None:
    path = tmp_path / 'config.py'
    path.write_text('model = dict(type="ImageClassifier")\n'
                    'data_preprocessor = dict(mean=[1, 2, 3])\n'
                    'other = 5\n')
    for name in (path, str(path)):
        found, config = find_classifier(name, 'model.teacher.model')
        assert found == dict(
            type='ImageClassifier', data_preprocessor=dict(mean=[1, 2, 3]))
        assert config is not None and config.other == 5


def test_pretrained_weights_are_left_out_at_any_depth() -> None:
    pretrained = dict(type='Pretrained', checkpoint='https://somewhere')
    kaiming = dict(type='Kaiming')
    given = dict(
        init_cfg=pretrained,
        backbone=dict(
            init_cfg=[kaiming, pretrained],
            pretrained=True,
            stages=[dict(init_cfg=dict(type='PretrainedInit'), depth=1)]),
        heads=(dict(init_cfg=pretrained), 'text'),
        other=pretrained)
    assert without_pretrained_weights(given) == dict(
        backbone=dict(init_cfg=[kaiming], stages=[dict(depth=1)]),
        heads=({}, 'text'),
        other=pretrained)
    assert given['init_cfg'] is pretrained


def test_a_model_without_preprocessor_is_fed_with_pixels(
        tmp_path: Path) -> None:
    path = tmp_path / 'config.py'
    path.write_text('model = dict(type="ImageClassifier")\n')
    found, _ = find_classifier(path, 'model.student')
    assert found == dict(type='ImageClassifier', data_preprocessor={})
    # A model dict may be another library's, which knows better.
    found, _ = find_classifier(dict(type='ImageClassifier'), 'model.student')
    assert 'data_preprocessor' not in found


def data(kind: str, *steps: dict, **options: object) -> Config:
    """A config of which only the test data count."""
    dataset = dict(type=kind, pipeline=list(steps), **options)
    return Config(dict(test_dataloader=dict(dataset=dataset)))


LOAD, PACK = dict(type='LoadImageFromFile'), dict(type='PackInputs')


@pytest.mark.parametrize('config, size', [
    (data('CIFAR10', PACK), (32, 32)),
    (data('X', dict(type='Resize', scale=(32, -1)), PACK), None),
    (data('mmpretrain.MNIST', PACK), (28, 28)),
    (data('FashionMNIST', dict(type='Resize', scale=32), PACK), (32, 32)),
    (data('tadfkd.TinyImageNet', LOAD, PACK), (64, 64)),
    (data('Digits', PACK, image_size=16), (16, 16)),
    (data('ImageNet', LOAD, PACK), None),
    (data('ImageNet', LOAD, dict(type='ResizeEdge', scale=256),
          dict(type='CenterCrop', crop_size=224), PACK), (224, 224)),
    (data('ImageNet', LOAD, dict(type='CenterCrop', crop_size=(40, 30)),
          dict(type='Resize', scale=(20, 10)), PACK), (10, 20)),
    (Config(dict()), None),
    (Config(dict(test_dataloader=None)), None),
])
def test_the_size_is_what_the_test_data_end_with(
        config: Config, size: tuple[int, int] | None) -> None:
    assert input_size_of(config) == size


def test_the_data_set_within_a_wrapper_counts() -> None:
    inner = dict(type='CIFAR10', pipeline=[PACK])
    for kind in ('RepeatDataset', 'ClassBalancedDataset'):
        inner = dict(type=kind, dataset=inner)
    config = Config(dict(test_dataloader=dict(dataset=inner)))
    assert input_size_of(config) == (32, 32)
    assert channel_order_of(config, {}) == 'rgb'


@pytest.mark.parametrize('step',
                         ['LoadImageFromFile', 'mmcv.LoadImageFromFile'])
@pytest.mark.parametrize('preprocessor, order', [
    (dict(to_rgb=True), 'rgb'),
    (dict(to_rgb=False), 'bgr'),
    (dict(), 'bgr'),
    (None, 'bgr'),
])
def test_files_are_bgr_until_they_are_converted(step: str,
                                                preprocessor: dict | None,
                                                order: str) -> None:
    model = dict(data_preprocessor=preprocessor)
    config = data('ImageNet', dict(type=step), PACK)
    assert channel_order_of(config, model) == order
    # Arrays are RGB, whatever the preprocessor says.
    assert channel_order_of(data('CIFAR10', PACK), model) == 'rgb'


@pytest.mark.parametrize('model', [
    dict(type='X', head=dict(type='LinearClsHead', num_classes=9)),
    dict(type='X', backbone=dict(type='VGG', num_classes=9)),
    dict(
        type='X',
        backbone=dict(type='VGG', num_classes=9),
        head=dict(type='ClsHead')),
    dict(type='X', backbone=dict(num_classes=9), neck=None, head=None),
    dict(
        type='X',
        backbone=dict(type='MobileNet', num_classes=-1),
        head=dict(num_classes=9)),
])
def test_one_part_gets_the_class_count(model: dict) -> None:
    changed = with_num_classes(model, 4)
    assert repr(changed) == repr(model).replace('9', '4')
    assert '9' in repr(model)


@pytest.mark.parametrize('model', [
    dict(type='X'),
    dict(type='X', backbone=dict(type='ResNet', num_classes=-1), head=None),
    dict(type='X', head=dict(type='MultiTaskHead')),
])
def test_a_model_without_classes_cannot_be_given_any(model: dict) -> None:
    with pytest.raises(
            UserError, match='cannot be given 4 classes.*model.student'):
        with_num_classes(model, 4)


def test_a_pipeline_may_normalise_and_convert() -> None:
    steps = [
        dict(type='LoadImageFromFile'),
        dict(type='torchvision/CenterCrop', size=(20, 30)),
        dict(type='Normalize', mean=[1, 2, 3], std=[4, 5, 6], to_rgb=True),
        dict(type='PackInputs')
    ]
    config = Config(dict(test_dataloader=dict(dataset=dict(pipeline=steps))))
    assert normalisation_of(config) == ([1, 2, 3], [4, 5, 6])
    assert channel_order_of(config, {}) == 'rgb'
    # Of torchvision's transforms, height is first.
    assert input_size_of(config) == (20, 30)
    assert normalisation_of(Config()) is None
    assert channel_order_of(Config(), {}) is None
