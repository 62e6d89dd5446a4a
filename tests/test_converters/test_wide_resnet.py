"""WideResNets are recognised or refused."""
import pytest
import torch
from public_networks import PublicWideResNet

from tadfkd.converters import read_network
from tadfkd.errors import UserError


def test_depth_width_and_layout_are_recognised() -> None:
    source = PublicWideResNet(40, 2, in_channels=1, num_classes=100)
    found = read_network(source.state_dict())
    assert found.architecture == 'WRN-40-2'
    assert found.layout == 'conv1, block1.layer.0.conv1, bn1, fc'
    assert found.num_classes == 100
    assert found.backbone == dict(
        type='tadfkd.WideResNet',
        depth=40,
        widen_factor=2,
        in_channels=1,
        stem_channels=16,
        conv_bias=False,
        transition='activated')


def test_the_other_layout_is_another_network() -> None:
    source = PublicWideResNet(16, 1, layers=True, bias=True, head='linear')
    found = read_network(source.state_dict())
    assert found.layout == 'conv1, layer1.0.conv1, bn1, linear'
    assert found.backbone['conv_bias'] is True
    assert found.backbone['transition'] == 'input'


def test_a_block_more_in_one_stage_is_refused() -> None:
    weights = PublicWideResNet().state_dict()
    weights['block2.layer.1.conv1.weight'] = torch.zeros(32, 32, 3, 3)
    with pytest.raises(UserError, match='got 1, 2, 1 blocks and 64 channels'):
        read_network(weights)


def test_a_network_without_the_last_norm_is_refused() -> None:
    weights = PublicWideResNet().state_dict()
    del weights['bn1.weight']
    with pytest.raises(UserError, match='WideResNet must have bn1.weight'):
        read_network(weights)
