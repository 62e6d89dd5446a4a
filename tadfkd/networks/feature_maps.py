"""Where in a classifier its feature maps are."""
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tadfkd.networks.capture import capture

#: Height and width.
Resolution = tuple[int, int]


@torch.no_grad()
def find_map_layers(
        network: nn.Module,
        forward: Callable[[], object]) -> dict[Resolution, nn.Module]:
    """For each resolution, the last layer whose input is a map of it.

    That input is what a stage of the network ends with. Read it by
    :func:`~tadfkd.networks.capture.capture`.

    Args:
        network: A convolutional classifier.
        forward: Passes images through it, once.

    Returns:
        From high to low resolution, which is the order of the forward in a
        network that does not enlarge its maps; without one that only the
        image itself has, or a single pixel, and empty for a network without
        maps. Passed over are normalisation layers, as
        mmengine replaces them, and layers that run more than once, as their
        inputs are several maps.
    """
    leaves = [
        module for module in network.modules()
        if not [*module.children()] and not isinstance(module, _BatchNorm)
    ]

    def read(layer: nn.Module, inputs: object) -> tuple:
        shape = inputs.shape if isinstance(inputs, Tensor) else ()
        return layer, tuple(shape)

    with capture(leaves, read) as calls:
        forward()
    maps = [(layer, shape[2:]) for layer, shape in calls if len(shape) == 4]
    runs = Counter(layer for layer, _ in calls)
    last = {size: layer for layer, size in maps if runs[layer] == 1}
    return {
        size: last[size]
        for size in sorted(last, reverse=True)
        if last[size] is not maps[0][0] and max(size) > 1
    }


@torch.no_grad()
def find_classification_layer(network: nn.Module, forward: Callable[[],
                                                                    object],
                              num_classes: int) -> nn.Linear | None:
    """The last linear layer that gives one value a class, if there is one.

    Args:
        network: A classifier.
        forward: Passes images through it, once.
        num_classes: K.
    """
    layers = [
        module for module in network.modules()
        if isinstance(module, nn.Linear) and module.out_features == num_classes
    ]
    with capture(layers, lambda layer, _: layer) as called:
        forward()
    return called[-1] if called else None
