"""Find the layers of a classifier whose inputs are its feature maps."""
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
    """For each resolution, the last layer whose input is a map of that size.

    That input is the output of a stage of the network. Use
    :func:`~tadfkd.networks.capture.capture` to read it.

    Args:
        network: A convolutional classifier.
        forward: Passes images through the network, once.

    Returns:
        The layers from high to low resolution; empty for a network without
        maps. That is the order of the forward pass if the network never
        enlarges its maps. The resolution of the image is left out if only
        the image has it, and so is 1x1. Normalisation layers are skipped,
        because mmengine replaces them, and so are layers that run more than
        once, because their inputs are several maps.
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
    """The last linear layer with one output per class, if there is one.

    Args:
        network: A classifier.
        forward: Passes images through the network, once.
        num_classes: K.
    """
    layers = [
        module for module in network.modules()
        if isinstance(module, nn.Linear) and module.out_features == num_classes
    ]
    with capture(layers, lambda layer, _: layer) as called:
        forward()
    return called[-1] if called else None
