"""Teachers from mmpretrain: finding, loading, feeding."""
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from torch import Tensor, nn

from tadfkd.classifiers.outputs import build_classifier
from tadfkd.errors import UserError
from tadfkd.evaluation import calibrate_batch_norm
from tadfkd.networks.capture import capture
from tadfkd.teachers import MMPretrainTeacher

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
    """A teacher without checkpoint; a model dict tells no size."""
    if isinstance(model, dict):
        options.setdefault('input_size', 16)
    return MMPretrainTeacher(model, allow_random_weights=True, **options)


def load(model: dict, path: Path) -> MMPretrainTeacher:
    """A teacher with the checkpoint at a path."""
    return MMPretrainTeacher(model, checkpoint=str(path), input_size=16)


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
    # CIFAR's pipeline neither resizes nor reads files.
    assert teacher.input_adapter.input_size == (32, 32)
    assert teacher.input_adapter.channel_order == 'rgb'
    np.testing.assert_allclose(
        255 * teacher.input_adapter.mean.flatten(),
        [125.307, 122.961, 113.8575],
        rtol=1e-5)
    with torch.no_grad():
        assert teacher(torch.rand(2, 3, 20, 20)).logits_BK.shape == (2, 10)


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
    assert teacher(torch.rand(2, 3, 16, 16)).logits_BK.shape == (2, 7)


def test_a_model_dict_does_not_tell_its_size() -> None:
    with pytest.raises(
            UserError,
            match='input_size .* cannot be found out: set '
            'model.teacher.input_size'):
        MMPretrainTeacher(classifier(), allow_random_weights=True)


@pytest.mark.parametrize('preprocessor', [None, 'left out'])
def test_a_model_dict_without_preprocessor_does_not_tell_its_normalisation(
        preprocessor: str | None) -> None:
    model = classifier()
    model['data_preprocessor'] = preprocessor
    if preprocessor is not None:
        del model['data_preprocessor']
    with pytest.raises(UserError, match='set model.teacher.mean'):
        random_teacher(model)
    with pytest.raises(UserError, match='set model.teacher.std'):
        random_teacher(model, mean=[1.0, 2.0, 3.0])
    adapter = random_teacher(
        model, mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0]).input_adapter
    np.testing.assert_allclose(255 * adapter.std.flatten(), [4, 5, 6], 1e-6)


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
            classifier(),
            checkpoint=str(path),
            recipe='configs/teachers/mine.py')
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
    teacher = load(classifier(), path)
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
        load(classifier(), path)


def test_a_checkpoint_of_another_class_count_is_a_user_error(
        tmp_path: Path) -> None:
    path = tmp_path / 'teacher.pth'
    save_weights(path, classifier(num_classes=6))
    with pytest.raises(
            UserError, match=r'2 of another shape \(head.fc.bias: \[6\] inst'):
        load(classifier(num_classes=5), path)


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
    adapter = random_teacher(
        classifier(**IMAGENET), input_size=16).input_adapter
    mean_C, std_C = (
        torch.tensor(IMAGENET[name])[:, None, None] / 255
        for name in ('mean', 'std'))
    assert torch.equal(adapter(images_BCHW), (images_BCHW - mean_C) / std_C)


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
    with pytest.raises(UserError, match='or grey_to_rgb of a teacher'):
        teacher(torch.rand(2, 1, 16, 16))
    teacher = random_teacher(classifier(**IMAGENET), grey_to_rgb=True)
    with pytest.raises(UserError, match='got images of 2'):
        teacher(torch.rand(2, 2, 16, 16))


def test_an_unknown_channel_order_is_a_user_error() -> None:
    with pytest.raises(
            UserError, match="rgb, bgr, got 'gbr'.*model.teacher.channel_"):
        random_teacher(classifier(), channel_order='gbr')


@pytest.mark.parametrize(
    'model',
    ['resnet18_8xb16_cifar10', 'mmpretrain::resnet/resnet18_8xb16_cifar10.py'])
def test_a_teacher_of_the_zoo_is_known_entirely(model: str) -> None:
    facts = random_teacher(model).facts
    assert facts['input_size'] == ((32, 32), 'the test data of the config')
    assert facts['channel_order'] == ('rgb', 'the data of the config')
    assert facts['mean'].source == facts['std'].source == 'data_preprocessor'
    assert facts['num_channels'] == (3, 'the first convolution')
    assert facts['num_classes'] == (10, 'the network')
    assert facts['activation'] == ('softmax', 'LinearClsHead')
    assert facts['weights'] == ('random', 'model.teacher')


def test_a_teacher_that_was_trained_here_is_known_by_its_config() -> None:
    root = Path(__file__).resolve().parents[2]
    teacher = random_teacher(
        str(root / 'configs/teachers/resnet18w16_digits.py'))
    assert teacher.facts['input_size'] == ((16, 16),
                                           'the test data of the config')
    assert teacher.facts['channel_order'].value == 'rgb'
    assert teacher.facts['num_channels'].value == 1
    assert teacher.facts['mean'].value == pytest.approx([77.7])
    assert teacher.facts['std'].value == pytest.approx([81.2])
    assert teacher(torch.rand(2, 1, 8, 8)).logits_BK.shape == (2, 10)


def test_each_field_wins_over_the_config(config_path: str) -> None:
    given = dict(
        input_size=(20, 18),
        mean=[1.0, 2.0, 3.0],
        std=[4.0, 5.0, 6.0],
        channel_order='rgb',
        activation='sigmoid',
        num_channels=3)
    found = random_teacher(config_path).facts
    facts = random_teacher(config_path, **given).facts
    for name, value in given.items():
        assert facts[name] == (value, 'set in model.teacher')
        # One at a time leaves the others as they are.
        single = random_teacher(config_path, **{name: value}).facts
        for other in given.keys() - {name}:
            assert single[other] == found[other]


def test_the_trap_of_two_answers_is_the_sum_as_in_conformers_prediction(
) -> None:
    teacher = random_teacher('conformer-tiny-p16_3rdparty_in1k', input_size=64)
    assert teacher.facts['output'] == ('sum', 'ConformerHead')
    images_BCHW = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        logits_BK = teacher(images_BCHW).logits_BK
        samples = teacher.network.predict(teacher.input_adapter(images_BCHW))
    scores_BK = torch.stack([sample.pred_score for sample in samples])
    torch.testing.assert_close(logits_BK.softmax(1), scores_BK)
    # Each answer of the two matters.
    first_BK = teacher.network(
        teacher.input_adapter(images_BCHW), mode='tensor')[0]
    assert not torch.allclose(first_BK.softmax(1), scores_BK, 1e-3, 1e-6)


def multi_task() -> dict:
    """A classifier of two tasks."""
    return classifier() | dict(
        head=dict(
            type='MultiTaskHead',
            task_heads=dict(
                task0=dict(type='LinearClsHead', num_classes=5),
                task1=dict(type='LinearClsHead', num_classes=3)),
            in_channels=32))


@pytest.mark.parametrize('task, num_classes', [('task0', 5), ('task1', 3)])
def test_one_of_several_tasks_is_chosen_by_its_key(task: str,
                                                   num_classes: int) -> None:
    teacher = random_teacher(multi_task(), output=task)
    assert teacher.num_classes == num_classes
    images_BCHW = torch.rand(2, 3, 16, 16)
    output = teacher(images_BCHW, with_features=True)
    head = teacher.network.head.task_heads[task]
    assert teacher.classification_layer is head.fc
    torch.testing.assert_close(output.logits_BK, head.fc(output.features_BF))


@pytest.mark.parametrize('output, problem', [
    (None, "dict of {'task0': a tensor of (2, 5), float32, 'task1': a tensor "
     'of (2, 3), float32}'),
    ('task2', "no part 'task2'"),
])
def test_several_tasks_must_be_chosen_from(output: str | None,
                                           problem: str) -> None:
    with pytest.raises(UserError) as caught:
        random_teacher(multi_task(), output=output)
    assert problem in str(caught.value)
    assert 'model.teacher.output' in str(caught.value)


@pytest.mark.parametrize('head', [
    dict(type='MultiLabelLinearClsHead', num_classes=5, in_channels=32),
    dict(
        type='CSRAClsHead',
        num_classes=5,
        in_channels=32,
        num_heads=2,
        lam=0.1),
])
def test_a_head_of_labels_that_exclude_nothing_is_sigmoid(head: dict) -> None:
    model = classifier() | dict(head=head)
    if head['type'] == 'CSRAClsHead':
        del model['neck']
    teacher = random_teacher(model)
    assert teacher.facts['activation'] == ('sigmoid', head['type'])
    images_BCHW = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        logits_BK = teacher(images_BCHW).logits_BK
        samples = teacher.network.predict(teacher.input_adapter(images_BCHW))
    assert logits_BK.shape == (2, 5)
    torch.testing.assert_close(
        logits_BK.sigmoid(),
        torch.stack([sample.pred_score for sample in samples]))
    assert random_teacher(
        model, activation='softmax').facts['activation'].value == 'softmax'


def test_a_classifier_without_head_is_refused() -> None:
    model = classifier()
    model['head'] = None
    # Its features pass for logits where they are one vector a sample.
    assert random_teacher(model).facts['activation'] == ('softmax', 'assumed')
    model['backbone']['out_indices'] = (2, 3)
    with pytest.raises(UserError, match='single classification head'):
        random_teacher(model)


#: They look their attention biases up when they change to eval mode.
LOOKS_UP = dict(
    levit=dict(
        type='ImageClassifier',
        # An arch of one's own, mmpretrain asks for by two names at once.
        backbone=dict(
            type='LeViT', arch='128s', img_size=64, out_indices=(2, )),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LeViTClsHead', num_classes=5, in_channels=384)),
    tinyvit=dict(
        type='ImageClassifier',
        backbone=dict(
            type='TinyViT',
            arch=dict(
                channels=[8, 8, 16, 16],
                num_heads=[2, 2, 2, 2],
                depths=[1, 1, 1, 1]),
            img_size=(64, 64),
            window_size=[7, 7, 14, 7],
            out_indices=(3, )),
        head=dict(type='LinearClsHead', num_classes=5, in_channels=16)),
    efficientformer=dict(
        type='ImageClassifier',
        backbone=dict(
            type='EfficientFormer',
            arch=dict(
                layers=[1, 1, 1, 1],
                embed_dims=[8, 8, 16, 16],
                downsamples=[False, True, True, True],
                vit_num=1)),
        neck=dict(type='GlobalAveragePooling', dim=1),
        head=dict(
            type='EfficientFormerClsHead', in_channels=16, num_classes=5)))


def fields_of(name: str) -> tuple[int, dict]:
    """Size of the images, and fields of the teacher."""
    # EfficientFormer's attention is for maps of 7 by 7.
    size = 224 if name == 'efficientformer' else 64
    return size, dict(mean=[127.5] * 3, std=[127.5] * 3, input_size=size)


def biased(model: dict) -> torch.nn.Module:
    """A network whose attention biases are not all zero, as they begin."""
    network = build_classifier(model)
    biases = [
        value for name, value in network.named_parameters()
        if name.endswith('attention_biases')
    ]
    assert biases
    for value in biases:
        torch.nn.init.normal_(value)
    # So that what attention does reaches the answer.
    for name, value in network.named_parameters():
        if 'layer_scale' in name or name.endswith('.weight'):
            torch.nn.init.uniform_(value, -0.5, 0.5)
    return network


@pytest.mark.parametrize('name', list(LOOKS_UP))
def test_biases_that_were_looked_up_are_those_of_the_checkpoint(
        name: str, tmp_path: Path) -> None:
    model = LOOKS_UP[name]
    size, fields = fields_of(name)
    fresh, stale = biased(model), biased(model).eval()
    path = tmp_path / 'weights.pth'
    torch.save(fresh.state_dict(), path)
    teacher = MMPretrainTeacher(model, checkpoint=str(path), **fields)
    images_BCHW = torch.rand(2, 3, size, size)
    inputs_BCHW = 2 * images_BCHW - 1
    fresh.train()
    fresh.eval()
    expected_BK = fresh(inputs_BCHW, mode='tensor')
    torch.testing.assert_close(teacher(images_BCHW).logits_BK, expected_BK)
    # Loading by itself leaves them behind.
    stale.load_state_dict(fresh.state_dict())
    assert not torch.allclose(
        stale(inputs_BCHW, mode='tensor'), expected_BK, 1e-4)


@pytest.mark.parametrize('name', list(LOOKS_UP))
def test_biases_that_were_looked_up_follow_to_another_type(name: str) -> None:
    size, fields = fields_of(name)
    teacher = random_teacher(LOOKS_UP[name], **fields)
    network = biased(LOOKS_UP[name])
    teacher.network.load_state_dict(network.state_dict())
    images_BCHW = torch.rand(2, 3, size, size)
    inputs_BCHW = 2 * images_BCHW - 1

    def rounded(module: torch.nn.Module) -> torch.nn.Module:
        return module.to(torch.bfloat16).to(torch.float32)

    # As a part of something that is moved.
    rounded(torch.nn.Sequential(teacher))
    expected_BK = rounded(network).train().eval()(inputs_BCHW, mode='tensor')
    torch.testing.assert_close(
        teacher(images_BCHW).logits_BK, expected_BK, rtol=1e-5, atol=1e-5)
    biases = [(layer.ab, layer.attention_biases[:, layer.attention_bias_idxs])
              for layer in teacher.network.modules()
              if hasattr(layer, 'attention_biases')]
    assert biases and all(torch.equal(*pair) for pair in biases)

    teacher.double()
    answer_BK = teacher(images_BCHW.double()).logits_BK
    assert answer_BK.dtype == torch.float64
    torch.testing.assert_close(
        answer_BK,
        network.double().train().eval()(inputs_BCHW.double(), mode='tensor'))


def test_moving_alone_leaves_looked_up_biases_behind() -> None:
    # The trap: without it, no teacher would have to be refreshed.
    network = biased(LOOKS_UP['levit']).eval()
    network.to(torch.bfloat16).to(torch.float32)
    layer = next(layer for layer in network.modules()
                 if hasattr(layer, 'attention_biases'))
    assert not torch.equal(
        layer.ab, layer.attention_biases[:, layer.attention_bias_idxs])


def test_a_list_of_initialisations_loads_nothing(tmp_path: Path) -> None:
    model = classifier()
    model['backbone']['init_cfg'] = [
        dict(type='Kaiming', layer=['Conv2d']),
        dict(type='Pretrained', checkpoint=str(tmp_path / 'missing.pth'))
    ]
    teacher = random_teacher(model)
    teacher.network.init_weights()
    assert teacher.network.backbone.init_cfg == [
        dict(type='Kaiming', layer=['Conv2d'])
    ]


def test_a_wrapped_backbone_downloads_nothing() -> None:
    pytest.importorskip('timm')
    model = classifier() | dict(
        backbone=dict(
            type='TIMMBackbone', model_name='test_resnet', pretrained=True),
        head=dict(type='LinearClsHead', num_classes=5, in_channels=96))
    teacher = random_teacher(model, input_size=32)
    assert teacher(torch.rand(2, 3, 16, 16)).logits_BK.shape == (2, 5)
    assert len(teacher.bn_layers) == 15


def test_a_wrapped_backbone_without_its_library_comes_with_its_cure(
        monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('timm')
    monkeypatch.setitem(sys.modules, 'timm', None)
    model = classifier()
    model['backbone'] = dict(type='TIMMBackbone', model_name='test_resnet')
    with pytest.raises(UserError, match=r'pip install "tadfkd\[timm\]"'):
        random_teacher(model)


def test_a_folded_copy_is_asked_where_logits_alone_are_wanted(
        tmp_path: Path) -> None:
    plain = random_teacher(classifier(), input_size=16)
    images_BCHW = torch.rand(16, 3, 16, 16)
    calibrate_batch_norm(plain, images_BCHW)
    torch.save(plain.network.state_dict(), tmp_path / 'teacher.pth')
    teacher = MMPretrainTeacher(
        classifier(),
        input_size=16,
        checkpoint=str(tmp_path / 'teacher.pth'),
        fold_bn=True)
    assert plain.fastest is plain.network
    assert teacher.fastest is not teacher.network
    expected = plain(images_BCHW, with_bn=True, with_features=True)
    with forwards_of(teacher.fastest) as folded_forwards:
        output = teacher(images_BCHW, with_bn=True, with_features=True)
        assert folded_forwards == []
        assert len(output.bn_statistics) == len(expected.bn_statistics) > 0
        assert torch.equal(output.logits_BK, expected.logits_BK)
        logits_BK = teacher(images_BCHW).logits_BK
        assert len(folded_forwards) == 1
    assert not torch.equal(logits_BK, expected.logits_BK)
    torch.testing.assert_close(
        logits_BK, expected.logits_BK, rtol=1e-3, atol=1e-4)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert not teacher.train().fastest.training


def forwards_of(network: nn.Module) -> AbstractContextManager[list]:
    """The first of its layers' inputs, one a forward."""
    first = next(x for x in network.modules() if isinstance(x, nn.Conv2d))
    return capture([first], lambda _, inputs: inputs)
