"""Teachers from mmpretrain: find, load, call."""
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.model import BaseModule
from torch import Tensor

from tadfkd.classifiers.build import build_classifier
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


@pytest.mark.parametrize(
    ('preprocessor', 'channel_order', 'loaded_as', 'channels'), [
        (dict(to_rgb=True, **IMAGENET), 'rgb', 'bgr', 3),
        (dict(to_rgb=False, **IMAGENET), 'bgr', 'bgr', 3),
        (dict(to_rgb=False, **IMAGENET), 'rgb', 'rgb', 3),
        (dict(mean=[77.7], std=[81.2]), 'rgb', 'rgb', 1),
        (dict(), 'rgb', 'rgb', 3),
    ])
def test_the_logits_are_those_after_mmpretrains_own_preprocessing(
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


def test_the_two_outputs_of_conformer_are_added_as_in_its_prediction() -> None:
    teacher = random_teacher('conformer-tiny-p16_3rdparty_in1k', input_size=64)
    assert teacher.facts['output'] == ('sum', 'ConformerHead')
    images_BCHW = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        logits_BK = teacher(images_BCHW).logits_BK
        samples = teacher.network.predict(teacher.input_adapter(images_BCHW))
    scores_BK = torch.stack([sample.pred_score for sample in samples])
    torch.testing.assert_close(logits_BK.softmax(1), scores_BK)
    # Both outputs matter.
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


#: These networks cache their attention biases when they enter eval mode.
CACHES_BIASES = dict(
    levit=dict(
        type='ImageClassifier',
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
    """A network with random attention biases; the initial ones are zero."""
    network = build_classifier(model)
    biases = [
        value for name, value in network.named_parameters()
        if name.endswith('attention_biases')
    ]
    assert biases
    for value in biases:
        torch.nn.init.normal_(value)
    # So that attention has a visible effect on the logits.
    for name, value in network.named_parameters():
        if 'layer_scale' in name or name.endswith('.weight'):
            torch.nn.init.uniform_(value, -0.5, 0.5)
    return network


@pytest.mark.parametrize('name', list(CACHES_BIASES))
def test_cached_biases_are_those_of_the_checkpoint(name: str,
                                                   tmp_path: Path) -> None:
    model = CACHES_BIASES[name]
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
    # The trap: loading alone leaves the old biases in the cache.
    stale.load_state_dict(fresh.state_dict())
    assert not torch.allclose(
        stale(inputs_BCHW, mode='tensor'), expected_BK, 1e-4)


@pytest.mark.parametrize('name', list(CACHES_BIASES))
def test_cached_biases_follow_to_another_dtype(name: str) -> None:
    size, fields = fields_of(name)
    teacher = random_teacher(CACHES_BIASES[name], **fields)
    network = biased(CACHES_BIASES[name])
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
