"""Teachers from mmpretrain: finding, loading, feeding."""
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from torch import Tensor

from tadfkd.teachers import MMPretrainTeacher
from tadfkd.utils.classifiers import build_classifier
from tadfkd.utils.errors import UserError

IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


def classifier(num_classes: int = 5,
               in_channels: int = 3,
               **preprocessor: Any) -> dict:
    """A small network with batch norm, as mmpretrain spells it."""
    return dict(
        type='ImageClassifier',
        backbone=dict(
            type='ResNet_CIFAR',
            depth=18,
            in_channels=in_channels,
            base_channels=4,
            stem_channels=4,
            num_stages=4,
            out_indices=(3, ),
            style='pytorch'),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead', num_classes=num_classes, in_channels=32),
        data_preprocessor=dict(preprocessor))


def coloured_pixels(channels: int, size: int) -> Tensor:
    """Three random uint8 images in which each channel is darker."""
    pixels_BCHW = torch.randint(256, (3, channels, size, size))
    return (pixels_BCHW >> torch.arange(channels)[:, None, None]).byte()


def random_teacher(model: str | dict, **options: Any) -> MMPretrainTeacher:
    """A teacher without checkpoint."""
    return MMPretrainTeacher(model, allow_random_weights=True, **options)


def save_weights(path: Path, model: dict) -> dict[str, Tensor]:
    """Random weights that fit a model, written to a file."""
    weights = build_classifier(model).state_dict()
    torch.save(weights, path)
    return weights


@pytest.fixture
def config_path(tmp_path: Path) -> str:
    """An mmpretrain config whose pipeline crops images that are BGR."""
    path = tmp_path / 'classifier.py'
    model = classifier()
    # Beside the model, as in mmpretrain's own configs.
    del model['data_preprocessor']
    Config(
        dict(
            model=model,
            data_preprocessor=dict(to_rgb=False, **IMAGENET),
            test_dataloader=dict(
                dataset=dict(pipeline=[
                    dict(type='LoadImageFromFile'),
                    dict(type='ResizeEdge', scale=28),
                    dict(type='CenterCrop', crop_size=24),
                    dict(type='PackInputs')
                ])))).dump(path)
    return str(path)


def change_config(path: str, **changes: Any) -> None:
    """Change dotted keys of a config file."""
    config = Config.fromfile(path)
    config.merge_from_dict({
        key.replace('__', '.'): value
        for key, value in changes.items()
    })
    config.dump(path)


def test_a_zoo_name_gives_network_and_normalisation_of_the_zoo() -> None:
    teacher = random_teacher('resnet18_8xb16_cifar10')
    assert type(teacher.network.backbone).__name__ == 'ResNet_CIFAR'
    # CIFAR's pipeline neither resizes nor reads files: RGB at any size.
    assert teacher.input_adapter.input_size is None
    assert teacher.input_adapter.channel_order == 'rgb'
    np.testing.assert_allclose(
        255 * teacher.input_adapter.mean.flatten(),
        [125.307, 122.961, 113.8575],
        rtol=1e-5)
    with torch.no_grad():
        assert teacher(torch.rand(2, 3, 32, 32)).logits_BK.shape == (2, 10)


def test_a_config_path_gives_size_and_channel_order_of_its_pipeline(
        config_path: str) -> None:
    teacher = random_teacher(config_path)
    assert teacher.input_adapter.input_size == (24, 24)
    assert teacher.input_adapter.channel_order == 'bgr'

    sizes = []
    teacher.network.register_forward_pre_hook(
        lambda _, inputs: sizes.append(tuple(inputs[0].shape)))
    teacher(torch.rand(2, 3, 16, 12))
    assert sizes == [(2, 3, 24, 24)]


def test_a_config_that_converts_to_rgb_makes_an_rgb_teacher(
        config_path: str) -> None:
    change_config(config_path, data_preprocessor__to_rgb=True)
    assert random_teacher(config_path).input_adapter.channel_order == 'rgb'


@pytest.mark.parametrize('step', [
    dict(type='CenterCrop', crop_size=(30, 20)),
    dict(type='Resize', scale=(30, 20))
])
def test_sizes_in_a_pipeline_are_width_and_height(config_path: str,
                                                  step: dict) -> None:
    # As mmcv documents both transforms.
    config = Config.fromfile(config_path)
    config.test_dataloader.dataset.pipeline[1:3] = [step]
    config.dump(config_path)
    assert random_teacher(config_path).input_adapter.input_size == (20, 30)


def test_explicit_size_and_order_win_over_the_config(config_path: str) -> None:
    adapter = random_teacher(
        config_path, input_size=32, channel_order='rgb').input_adapter
    assert adapter.input_size == (32, 32)
    assert adapter.channel_order == 'rgb'


def test_a_model_dict_is_built_and_left_as_it_was() -> None:
    model = classifier(num_classes=7)
    teacher = random_teacher(model)
    assert model == classifier(num_classes=7)
    assert teacher.input_adapter.input_size is None
    assert teacher(torch.rand(2, 3, 16, 16)).logits_BK.shape == (2, 7)


def test_a_misspelt_zoo_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="'resnet18_8xb16_cifar10'"):
        random_teacher('resnet18_8xb16_cifra10')


def test_a_config_path_that_does_not_exist_is_a_user_error() -> None:
    with pytest.raises(UserError, match='nowhere.py, which does not exist'):
        random_teacher('nowhere.py')


def test_a_model_that_is_neither_name_nor_dict_is_a_user_error() -> None:
    with pytest.raises(UserError, match='model.teacher.model must be'):
        random_teacher(18)


def test_no_checkpoint_names_the_option_and_the_recipe() -> None:
    with pytest.raises(UserError) as error:
        MMPretrainTeacher(classifier(), recipe='configs/teachers/mine.py')
    assert '--teacher-checkpoint' in str(error.value)
    assert 'model.teacher.checkpoint' in str(error.value)
    assert '`python tools/train.py configs/teachers/mine.py`' in str(
        error.value)


def test_a_missing_file_names_itself_and_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / 'missing.pth'
    with pytest.raises(UserError) as error:
        MMPretrainTeacher(
            classifier(), str(path), recipe='configs/teachers/mine.py')
    assert f'{path} does not exist' in str(error.value)
    assert 'tools/train.py configs/teachers/mine.py' in str(error.value)


def test_random_weights_do_not_excuse_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='does not exist'):
        random_teacher(classifier(), checkpoint=str(tmp_path / 'missing.pth'))


@pytest.mark.parametrize('wrapped', [False, True])
def test_the_weights_of_the_checkpoint_are_loaded(tmp_path: Path,
                                                  wrapped: bool) -> None:
    path = tmp_path / 'teacher.pth'
    weights = save_weights(path, classifier())
    if wrapped:
        torch.save(dict(meta=dict(epoch=3), state_dict=weights), path)
    teacher = MMPretrainTeacher(classifier(), str(path))
    loaded = teacher.network.state_dict()
    assert loaded.keys() == weights.keys()
    for name, value in weights.items():
        assert torch.equal(loaded[name], value), name


def test_a_checkpoint_with_a_missing_tensor_is_a_user_error(
        tmp_path: Path) -> None:
    path = tmp_path / 'teacher.pth'
    weights = save_weights(path, classifier())
    del weights['backbone.bn1.running_mean']
    torch.save(weights, path)
    with pytest.raises(
            UserError, match=r'1 missing \(backbone.bn1.running_mean\)'):
        MMPretrainTeacher(classifier(), str(path))


def test_a_checkpoint_of_another_class_count_is_a_user_error(
        tmp_path: Path) -> None:
    path = tmp_path / 'teacher.pth'
    save_weights(path, classifier(num_classes=6))
    with pytest.raises(
            UserError, match=r'2 of another shape \(head.fc.bias, head.fc.w'):
        MMPretrainTeacher(classifier(num_classes=5), str(path))


def test_no_part_looks_for_pretrained_weights_of_its_own() -> None:
    model = classifier()
    pretrained = dict(type='Pretrained', checkpoint='nowhere.pth')
    model['init_cfg'] = pretrained
    model['backbone']['init_cfg'] = pretrained
    model['head']['init_cfg'] = dict(type='Normal', layer='Linear', std=0.01)
    teacher = random_teacher(model)
    assert model['backbone']['init_cfg'] == pretrained
    # Would raise FileNotFoundError.
    teacher.network.init_weights()
    # What is no checkpoint stays.
    assert teacher.network.head.init_cfg['type'] == 'Normal'


def test_init_weights_of_a_parent_keeps_the_loaded_weights() -> None:

    class Parent(BaseModule):
        """Holds the same classifier twice, once as a teacher."""

        def __init__(self) -> None:
            super().__init__()
            self.teacher = random_teacher(classifier())
            self.bare = build_classifier(classifier())

    parent = Parent()
    before = {
        name: value.clone()
        for name, value in parent.state_dict().items()
    }
    parent.init_weights()
    changed = {
        name.partition('.')[0]
        for name, value in parent.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == {'bare'}


def test_resizing_is_differentiable_and_smooth() -> None:
    adapter = random_teacher(classifier(), input_size=(20, 12)).input_adapter
    images_BCHW = torch.rand(2, 3, 40, 48, requires_grad=True)
    inputs_BCHW = adapter(images_BCHW)
    assert inputs_BCHW.shape == (2, 3, 20, 12)
    inputs_BCHW.sum().backward()
    # Antialiased: each pixel of the larger image counts.
    assert (images_BCHW.grad > 0).all()


def test_gradients_reach_images_through_the_resize() -> None:
    teacher = random_teacher(classifier(), input_size=24)
    images_BCHW = torch.rand(2, 3, 16, 16, requires_grad=True)
    teacher(images_BCHW).logits_BK.square().sum().backward()
    assert (images_BCHW.grad != 0).all()


def test_images_of_the_right_size_are_not_resampled() -> None:
    images_BCHW = torch.rand(2, 3, 16, 16)
    sized, unsized = (
        random_teacher(classifier(**IMAGENET),
                       input_size=size).input_adapter(images_BCHW)
        for size in (16, None))
    assert torch.equal(sized, unsized)


@pytest.mark.parametrize(
    ('preprocessor', 'channel_order', 'loaded_as', 'channels'), [
        (dict(to_rgb=True, **IMAGENET), 'rgb', 'bgr', 3),
        (dict(to_rgb=False, **IMAGENET), 'bgr', 'bgr', 3),
        (dict(to_rgb=False, **IMAGENET), 'rgb', 'rgb', 3),
        (dict(mean=[127.5], std=[127.5], to_rgb=True), 'rgb', 'bgr', 3),
        (dict(mean=[77.7], std=[81.2]), 'rgb', 'rgb', 1),
        (dict(mean=[0.0] * 3, std=[255.0] * 3), 'rgb', 'rgb', 3),
        (dict(), 'rgb', 'rgb', 3),
    ])
def test_the_answer_is_that_to_mmpretrains_own_preprocessing(
        preprocessor: dict, channel_order: str, loaded_as: str,
        channels: int) -> None:
    teacher = random_teacher(
        classifier(in_channels=channels, **preprocessor),
        channel_order=channel_order)
    network = teacher.network
    pixels_BCHW = coloured_pixels(channels, 16)
    loaded_BCHW = pixels_BCHW.flip(1) if loaded_as == 'bgr' else pixels_BCHW
    with torch.no_grad():
        inputs_BCHW = network.data_preprocessor(
            dict(inputs=loaded_BCHW))['inputs']
        expected_BK = network(inputs_BCHW)
        torch.testing.assert_close(
            teacher(pixels_BCHW / 255).logits_BK,
            expected_BK,
            rtol=1e-4,
            atol=1e-5)
        if channels == 3:
            # The order matters to this network.
            wrong_BK = teacher(pixels_BCHW.flip(1) / 255).logits_BK
            assert not torch.allclose(wrong_BK, expected_BK, 1e-3, 1e-3)


def test_a_config_says_how_its_images_were_normalised(
        config_path: str) -> None:
    teacher = random_teacher(config_path)
    pixels_BCHW = coloured_pixels(3, 24)
    with torch.no_grad():
        inputs_BCHW = teacher.network.data_preprocessor(
            dict(inputs=pixels_BCHW.flip(1)))['inputs']
        torch.testing.assert_close(
            teacher(pixels_BCHW / 255).logits_BK,
            teacher.network(inputs_BCHW),
            rtol=1e-4,
            atol=1e-5)


def test_a_grey_image_is_three_equal_channels_where_asked_for() -> None:
    teacher = random_teacher(
        classifier(to_rgb=False, **IMAGENET), grey_to_rgb=True)
    pixels_BCHW = coloured_pixels(1, 16)
    with torch.no_grad():
        inputs_BCHW = teacher.network.data_preprocessor(
            dict(inputs=pixels_BCHW.repeat(1, 3, 1, 1)))['inputs']
        torch.testing.assert_close(
            teacher(pixels_BCHW / 255).logits_BK,
            teacher.network(inputs_BCHW),
            rtol=1e-4,
            atol=1e-5)
        # mmpretrain does the same to the grey images of a training set.
        torch.testing.assert_close(
            teacher.network.data_preprocessor(
                dict(inputs=pixels_BCHW))['inputs'], inputs_BCHW)


def test_a_grey_image_is_not_repeated_unasked() -> None:
    teacher = random_teacher(classifier(**IMAGENET))
    with pytest.raises(UserError, match='or set grey_to_rgb'):
        teacher(torch.rand(2, 1, 16, 16))
    teacher = random_teacher(classifier(**IMAGENET), grey_to_rgb=True)
    with pytest.raises(UserError, match='got images of 2'):
        teacher(torch.rand(2, 2, 16, 16))


def test_an_unknown_channel_order_is_a_user_error() -> None:
    with pytest.raises(UserError, match="'rgb' or 'bgr', got 'gbr'"):
        random_teacher(classifier(), channel_order='gbr')
