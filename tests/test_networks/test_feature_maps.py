"""Feature maps are found in networks whose layers are known."""
from collections.abc import Callable

import torch
from tiny_networks import classifier
from torch import Tensor, nn
from torch.nn import functional

from tadfkd.classifiers.build import build_classifier
from tadfkd.networks.capture import capture
from tadfkd.networks.feature_maps import (find_classification_layer,
                                          find_map_layers)

SIZE = (16, 12)


def passing(network: nn.Module,
            size: tuple[int, int] = SIZE) -> Callable[[], Tensor]:
    """Passes two images through a network."""
    return lambda: network(torch.rand(2, 3, *size))


def staged() -> nn.Sequential:
    """Stages that end at 16x12, 8x6 and 4x3 pixels, in layers 4, 7 and 10."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Identity(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 1), nn.ReLU(),
        nn.AvgPool2d(2), nn.Conv2d(5, 6, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))


def test_each_resolution_ends_in_the_layer_that_leaves_it() -> None:
    network = staged()
    found = find_map_layers(network, passing(network))
    # From high to low, and no single pixels.
    assert [*found] == [(16, 12), (8, 6), (4, 3)]
    assert [*found.values()] == [network[4], network[7], network[10]]


def test_normalisation_is_passed_over() -> None:
    # mmengine's Runner replaces the layer.
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(4),
        nn.Flatten(), nn.Linear(4 * 16 * 12, 3))
    assert find_map_layers(network, passing(network)) == {SIZE: network[3]}


class SharedPool(nn.Module):
    """Pools after both convolutions by one layer, as tutorials do."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 5, 3, padding=1)
        self.third = nn.Conv2d(5, 6, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        maps = self.pool(functional.relu(self.first(inputs)))
        maps = self.pool(functional.relu(self.second(maps)))
        return self.head(functional.relu(self.third(maps)).mean((2, 3)))


def test_a_layer_that_runs_more_than_once_ends_no_stage() -> None:
    network = SharedPool()
    found = find_map_layers(network, passing(network))
    assert found == {(8, 6): network.second, (4, 3): network.third}
    with capture(found.values(), lambda _, inputs: inputs) as maps:
        passing(network)()
    # One map per resolution, in the order of the dictionary.
    assert [tuple(values.shape[2:]) for values in maps] == [*found]


def test_the_stages_of_a_residual_network_end_where_the_next_begin() -> None:
    config = classifier(in_channels=3)
    network = build_classifier(config).eval()
    images_BCHW = torch.rand(2, 3, 16, 16)
    found = find_map_layers(network,
                            lambda: network(images_BCHW, mode='tensor'))
    assert [*found] == [(16, 16), (8, 8), (4, 4), (2, 2)]
    stages: list[Tensor] = []
    for index in range(1, 5):
        getattr(network.backbone, f'layer{index}').register_forward_hook(
            lambda *args: stages.append(args[2]))
    with capture(found.values(), lambda _, inputs: inputs) as maps:
        network(images_BCHW, mode='tensor')
    for values, stage in zip(maps, stages, strict=True):
        assert torch.equal(values, stage)


class TwoHeads(nn.Module):
    """With two layers of three values, of which the second runs first."""

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Linear(4, 3)
        self.early = nn.Linear(3, 3)
        self.unused = nn.Linear(4, 3)
        self.stem = nn.Conv2d(3, 4, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        self.early(inputs.mean((2, 3)))
        return self.main(self.stem(inputs).mean((2, 3)))


def test_the_classification_layer_is_the_last_that_runs() -> None:
    network = TwoHeads()
    assert find_classification_layer(network, passing(network),
                                     3) is network.main
    assert find_classification_layer(network, passing(network), 4) is None
