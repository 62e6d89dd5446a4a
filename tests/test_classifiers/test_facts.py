"""Facts about a classifier from its config and its network."""
from typing import Any

import pytest
import torch
from mmengine.config import Config
from torch import nn

from tadfkd.classifiers.build import build_classifier
from tadfkd.classifiers.facts import (Fact, facts_of, own_input_size,
                                      own_num_channels)

TINY = dict(
    type='ImageClassifier',
    backbone=dict(type='LeNet5', num_classes=4),
    neck=None,
    head=dict(type='ClsHead'))


def facts(config: Config | None = None, **changes: Any) -> dict[str, Fact]:
    """Of a small classifier with some parts replaced."""
    model = TINY | changes
    return facts_of(model, config, build_classifier(model))


def data(*steps: dict) -> Config:
    """A config of which only the test data count."""
    return Config(
        dict(
            test_dataloader=dict(
                dataset=dict(type='ImageNet', pipeline=list(steps)))))


def test_a_model_dict_alone_tells_classes_and_activation() -> None:
    # LeNet classifies in its backbone.
    assert facts() == dict(
        activation=Fact('softmax', 'ClsHead'), num_classes=Fact(4, 'LeNet5'))
    assert facts(head=None) == dict(num_classes=Fact(4, 'LeNet5'))
    without = dict(type='LeNet5', num_classes=-1)
    assert facts(backbone=without, head=None) == {}


def test_the_config_tells_size_and_order() -> None:
    load, crop = dict(type='LoadImageFromFile'), dict(
        type='CenterCrop', crop_size=(30, 20))
    found = facts(data(load, crop), data_preprocessor={})
    assert found['input_size'] == ((20, 30), 'the test data of the config')
    assert found['channel_order'] == ('bgr', 'the data of the config')
    found = facts(data(load), data_preprocessor=dict(to_rgb=True))
    assert 'input_size' not in found
    assert found['channel_order'].value == 'rgb'
    assert facts(data(crop))['channel_order'].value == 'rgb'


@pytest.mark.parametrize('head, expected', [
    (dict(type='LinearClsHead', num_classes=3,
          in_channels=4), dict(activation='softmax', num_classes=3)),
    (dict(type='MultiLabelLinearClsHead', num_classes=3,
          in_channels=4), dict(activation='sigmoid', num_classes=3)),
    (dict(
        type='CSRAClsHead', num_classes=3, in_channels=4, num_heads=1,
        lam=0.1), dict(activation='sigmoid')),
    (dict(type='ConformerHead', num_classes=3, in_channels=[4, 4]),
     dict(activation='softmax', num_classes=3, output='sum')),
])
def test_the_head_tells_how_it_is_read(head: dict, expected: dict) -> None:
    found = facts(head=head, backbone=dict(type='LeNet5', num_classes=-1))
    assert {name: fact.value for name, fact in found.items()} == expected
    assert {fact.source for fact in found.values()} == {head['type']}


def test_timm_tells_only_what_is_recorded() -> None:
    timm = pytest.importorskip('timm')
    model = dict(type='TimmClassifier', model_name='test_resnet')

    def found(**record: object) -> dict[str, Fact]:
        network = nn.Module()
        network.model = timm.create_model('test_resnet', num_classes=4)
        network.model.pretrained_cfg = record
        return facts_of(model, None, network)

    order = dict(channel_order=Fact('rgb', 'timm'))
    assert found() == order
    assert found(num_classes=3, mean=(0.5, ), input_size=(3, 8, 9)) == order
    source = "timm's pretrained_cfg"
    assert found(
        num_classes=4, mean=(0.2, ), std=None,
        input_size=(3, 8, 9)) == order | dict(
            mean=Fact([51.0], source), input_size=Fact((8, 9), source))


class SaysItsSize(nn.Module):
    """A network that keeps its size under some name."""

    def __init__(self, **attributes: object) -> None:
        super().__init__()
        for name, value in attributes.items():
            setattr(self, name, value)


@pytest.mark.parametrize('attributes, size', [
    (dict(img_size=24), (24, 24)),
    (dict(image_size=(24, 20)), (24, 20)),
    (dict(img_size=[24, 20]), (24, 20)),
    (dict(img_size=torch.Size((24, 20))), (24, 20)),
    (dict(img_size=(3, 24, 20)), None),
    (dict(size=24), None),
])
def test_a_network_may_know_its_size(attributes: dict,
                                     size: tuple[int, int] | None) -> None:
    assert own_input_size(SaysItsSize(**attributes)) == size
    within = nn.Sequential(nn.ReLU(), nn.Sequential(SaysItsSize(**attributes)))
    assert own_input_size(within) == size


def test_the_first_convolution_tells_the_channels() -> None:
    assert own_num_channels(
        nn.Sequential(nn.ReLU(), nn.Conv2d(2, 3, 1), nn.Conv2d(3, 4, 1))) == 2
    assert own_num_channels(nn.Linear(3, 4)) is None
