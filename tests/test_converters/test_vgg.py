"""VGGs are recognised or refused."""
import re

import pytest
import torch
from public_networks import VGG8, VGG11, BlockVGG, FeaturesVGG

from tadfkd.converters import read_network
from tadfkd.errors import UserError

VGG16 = ((64, ) * 2, (128, ) * 2, (256, ) * 3, (512, ) * 3, (512, ) * 3)


@pytest.mark.parametrize('norm', [True, False])
def test_depth_and_pooling_are_read_from_the_numbers(norm: bool) -> None:
    with torch.device('meta'):
        weights = FeaturesVGG(VGG16, norm=norm).state_dict()
    found = read_network({
        key: torch.zeros(value.shape)
        for key, value in weights.items()
    })
    assert found.architecture == 'VGG-16' + norm * ' with batch norm'
    assert found.backbone['type'] == 'VGG'
    assert ('norm_cfg' in found.backbone) == norm
    layers = {
        int(match[1])
        for match in (re.match(r'backbone.features.(\d+)\.conv', key)
                      for key in found.weights) if match
    }
    # mmpretrain numbers the pooling layers, which have no weights.
    assert layers == {*range(17)} - {2, 5, 9, 13}


@pytest.mark.parametrize('size, stages', [(32, (0, 1, 2)), (64, (0, 1, 2, 3))])
def test_blocks_pool_as_public_code_does(size: int,
                                         stages: tuple[int, ...]) -> None:
    found = read_network(BlockVGG(VGG8).state_dict(), size)
    assert found.backbone == dict(
        type='tadfkd.CIFARVGG',
        depth=8,
        pooled_stages=stages,
        norm_cfg=dict(type='BN'))
    assert found.layout == 'block0.0, block4.0, classifier'


def test_missing_biases_are_zeros() -> None:
    found = read_network(FeaturesVGG(bias=False).state_dict())
    biases = [
        value for key, value in found.weights.items()
        if key.endswith('.conv.bias')
    ]
    assert len(biases) == 8
    assert not any(bias.any() for bias in biases)
    own = FeaturesVGG().state_dict()
    assert torch.equal(
        read_network(own).weights['backbone.features.0.conv.bias'],
        own['features.0.bias'])


@pytest.mark.parametrize('widths, message', [
    (VGG8, 'depth 11, 13, 16, 19 and'),
    (((32, ), *VGG11[1:]), r'got stages of \[\[32\], \[128\]'),
])
def test_other_depths_and_widths_are_refused(widths: tuple,
                                             message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_network(FeaturesVGG(widths).state_dict())


def test_other_layers_between_are_refused() -> None:
    weights = FeaturesVGG().state_dict()
    # Dropout after the first pooling layer shifts the numbers.
    shifted = {}
    for key, value in weights.items():
        folder, number, *leaf = key.split('.')
        if folder == 'features' and int(number) > 3:
            number = str(int(number) + 1)
        shifted['.'.join([folder, number, *leaf])] = value
    with pytest.raises(UserError, match='between features.0 and features.5'):
        read_network(shifted)


@pytest.mark.parametrize('changed, size, message', [
    ({}, 16, 'at least 32 .* got 16'),
    ({'fc.weight': torch.zeros(10, 512)}, 32, 'one linear classifier'),
])  # yapf: disable
def test_other_networks_are_refused(changed: dict, size: int,
                                    message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_network(FeaturesVGG().state_dict() | changed, size)
