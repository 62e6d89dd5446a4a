"""ResNets are recognised or refused."""
import pytest
import torch
from public_networks import PublicResNet, PublicWideResNet
from torch import Tensor

from tadfkd.converters import read_network
from tadfkd.errors import UserError


def test_architecture_and_widths_are_recognised() -> None:
    source = PublicResNet((3, 4, 6, 3), True, 'downsample', 'fc', 2, 1, 9)
    found = read_network(source.state_dict())
    assert found.architecture == 'ResNet-50'
    assert found.layout == 'conv1, layer1.0.conv1, layer2.0.downsample.0, fc'
    assert (found.in_channels, found.num_classes, found.features) == (1, 9, 64)
    assert found.backbone['base_channels'] == 2
    assert found.backbone['depth'] == 50


def without(weights: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """The weights whose key does not contain ``part``."""
    left = {key: value for key, value in weights.items() if part not in key}
    assert left.keys() != weights.keys()
    return left


def test_a_wide_resnet_named_like_a_resnet_is_told_from_it() -> None:
    for factor in (1, 2):
        source = PublicWideResNet(10, factor, layers=True)
        found = read_network(source.state_dict())
        assert found.architecture == f'WRN-10-{factor}'


@pytest.mark.parametrize('part, changed, message', [
    ('shortcut', {}, 'option A'),
    ('shortcut.1', {}, 'a projection without batch norm'),
    ('bn1.', {'layer1.0.bn1.weight': torch.ones(4)},
     'a pre-activation ResNet'),
    ('linear.bias', {'conv1.weight': torch.zeros(4, 3, 7, 7)},
     'must be a 3x3 .* got 7x7'),
    ('layer4', {}, 'stages of 2, 2, 2 blocks .* -32 and'),
    ('linear.bias', {'layer1.0.se.fc.weight': torch.zeros(4, 4)},
     'has no layer1.0.se.fc.weight:'),
])  # yapf: disable
def test_other_networks_are_refused(part: str, changed: dict[str, Tensor],
                                    message: str) -> None:
    weights = without(PublicResNet().state_dict(), part) | changed
    with pytest.raises(UserError, match=message):
        read_network(weights)
