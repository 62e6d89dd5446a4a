"""One network of every public layout."""
from collections.abc import Callable

import pytest
from public_networks import (BlockVGG, FeaturesVGG, PublicResNet,
                             PublicWideResNet)
from torch import nn

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    'ResNet-18 linear':
    PublicResNet,
    'ResNet-34 fc':
    lambda: PublicResNet((3, 4, 6, 3), shortcut='downsample', head='fc'),
    'ResNet-50 linear':
    lambda: PublicResNet((3, 4, 6, 3), bottleneck=True, num_classes=3),
    'ResNet-18 grey':
    lambda: PublicResNet(in_channels=1, width=6, num_classes=100),
    'WRN-16-2 block':
    lambda: PublicWideResNet(16, 2, num_classes=7),
    'WRN-16-1 layer':
    lambda: PublicWideResNet(16, layers=True, bias=True, head='linear'),
    'VGG-11 with batch norm features':
    FeaturesVGG,
    'VGG-11 features':
    lambda: FeaturesVGG(norm=False, num_classes=5),
    'VGG-8 with batch norm block':
    BlockVGG,
    'VGG-8 block':
    lambda: BlockVGG(norm=False),
}


@pytest.fixture(params=NETWORKS)
def public_network(request: pytest.FixtureRequest) -> tuple[str, nn.Module]:
    """The architecture, perhaps followed by details, and the network."""
    return request.param, NETWORKS[request.param]()
