"""ResNets: what is found out, and which are refused."""
import pytest
import torch
from public_networks import PublicResNet, PublicWideResNet
from torch import Tensor

from tadfkd.checkpoints.weights import load_weights
from tadfkd.classifiers.outputs import build_classifier
from tadfkd.converters import read_network
from tadfkd.errors import UserError


def test_architecture_and_widths_are_found_out() -> None:
    source = PublicResNet((3, 4, 6, 3), True, 'downsample', 'fc', 2, 1, 9)
    found = read_network(source.state_dict())
    assert found.architecture == 'ResNet-50'
    assert found.layout == 'conv1, layer1.0.conv1, layer2.0.downsample.0, fc'
    assert (found.in_channels, found.num_classes, found.features) == (1, 9, 64)
    assert found.backbone['base_channels'] == 2
    assert found.backbone['depth'] == 50


def test_the_deepest_are_told_by_their_blocks() -> None:
    for blocks, depth in (((3, 4, 23, 3), 101), ((3, 8, 36, 3), 152)):
        source = PublicResNet(blocks, bottleneck=True, width=1)
        found = read_network(source.state_dict())
        assert found.architecture == f'ResNet-{depth}'


def without(weights: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """The weights whose key does not contain ``part``."""
    left = {key: value for key, value in weights.items() if part not in key}
    assert left.keys() != weights.keys()
    return left


def test_parameter_free_shortcuts_are_refused() -> None:
    weights = without(PublicResNet().state_dict(), 'shortcut')
    with pytest.raises(UserError, match='option A'):
        read_network(weights)


def test_the_three_stage_networks_of_cifar_papers_are_refused() -> None:
    weights = PublicResNet((3, 3, 3), width=16).state_dict()
    with pytest.raises(UserError, match='stages of 3, 3, 3 blocks .* -32 and'):
        read_network(without(weights, 'shortcut'))


def test_a_projection_without_batch_norm_is_refused() -> None:
    weights = without(PublicResNet().state_dict(), 'shortcut.1')
    with pytest.raises(UserError, match='a projection without batch norm'):
        read_network(weights)


def test_a_pre_activation_resnet_is_refused() -> None:
    weights = without(PublicResNet().state_dict(), 'bn1.')
    weights['layer1.0.bn1.weight'] = torch.ones(4)
    with pytest.raises(UserError, match='a pre-activation ResNet'):
        read_network(weights)


def test_an_imagenet_stem_is_refused() -> None:
    weights = PublicResNet(shortcut='downsample', head='fc').state_dict()
    weights['conv1.weight'] = torch.zeros(4, 3, 7, 7)
    with pytest.raises(UserError, match='must be a 3x3 .* got 7x7'):
        read_network(weights)


def test_keys_of_something_else_are_shown() -> None:
    weights = PublicResNet().state_dict()
    weights['layer1.0.se.fc.weight'] = torch.zeros(4, 4)
    with pytest.raises(UserError, match='has no layer1.0.se.fc.weight:'):
        read_network(weights)


@pytest.mark.parametrize('key', ['layer3.1.bn2.running_var', 'linear.bias'])
def test_a_missing_key_is_named(key: str) -> None:
    found = read_network(without(PublicResNet().state_dict(), key))
    classifier = build_classifier(found.model([0.0] * 3, [1.0] * 3))
    leaf = key.rpartition('.')[2]
    with pytest.raises(UserError, match=f'1 missing .*{leaf}'):
        load_weights(classifier, found.weights, 'converted')


def test_a_wide_resnet_named_like_a_resnet_is_told_from_it() -> None:
    for factor in (1, 2):
        source = PublicWideResNet(10, factor, layers=True)
        found = read_network(source.state_dict())
        assert found.architecture == f'WRN-10-{factor}'
