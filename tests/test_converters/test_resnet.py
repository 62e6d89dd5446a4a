"""ResNets are recognised or refused."""
from pathlib import Path

import pytest
import torch
from public_networks import PublicResNet, PublicWideResNet
from torch import Tensor

from tadfkd.converters import convert, read_network
from tadfkd.errors import UserError


def test_architecture_and_widths_are_recognised() -> None:
    source = PublicResNet((3, 4, 6, 3), True, 'downsample', 'fc', 2, 1, 9)
    found = read_network(source.state_dict())
    assert found.architecture == 'ResNet-50'
    assert found.layout == 'conv1, layer1.0.conv1, fc'
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
    ('shortcut', {}, r'missing \(backbone.layer2.0.downsample.0.weight'),
    ('shortcut.1', {}, r'missing \(backbone.layer2.0.downsample.1.bias'),
    ('linear.bias', {'conv1.weight': torch.zeros(4, 3, 7, 7)},
     r'backbone.conv1.weight: \[4, 3, 7, 7\] instead of \[4, 3, 3, 3\]'),
    ('layer4', {}, 'stages of 2, 2, 2 blocks .* -32 and'),
    ('linear.bias', {'layer1.0.se.fc.weight': torch.zeros(4, 4)},
     'has no layer1.0.se.fc.weight:'),
])  # yapf: disable
def test_other_networks_are_refused(part: str, changed: dict[str, Tensor],
                                    message: str, tmp_path: Path) -> None:
    weights = without(PublicResNet().state_dict(), part) | changed
    torch.save(weights, tmp_path / 'public.pth')
    with pytest.raises(UserError, match=message):
        convert(tmp_path / 'public.pth', tmp_path / 'new.pth', [120.0] * 3,
                [60.0] * 3)
    assert [path.name for path in tmp_path.iterdir()] == ['public.pth']
