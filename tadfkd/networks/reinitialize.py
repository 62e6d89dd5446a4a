"""Give a network new initial weights."""
import torch
from torch import nn
from torch.nn.utils import parametrize


def reinitialize(network: nn.Module, stream: torch.Generator) -> None:
    """Initialise every layer again.

    torch's initialisers draw from the global generators. The state of those
    generators is restored afterwards.

    Args:
        network: Changed in place by ``reset_parameters`` of its layers.
        stream: A generator on the CPU, from which the seed is drawn.
    """
    seed = int(torch.randint(2**62, (), generator=stream))
    devices = {
        parameter.device
        for parameter in network.parameters()
        if parameter.device.type == 'cuda'
    }
    with torch.random.fork_rng(devices=list(devices)):
        torch.manual_seed(seed)
        for layer in network.modules():
            reset = getattr(layer, 'reset_parameters', None)
            if reset is None:
                continue
            with parametrize.cached():
                reset()
                # reset_parameters changed the cached weight of a layer with a
                # parametrization, such as a spectral norm. The assignment
                # stores it in the layer's parameters.
                for name in getattr(layer, 'parametrizations', ()):
                    setattr(layer, name, getattr(layer, name))
