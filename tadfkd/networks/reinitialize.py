"""Beginning a network again."""
import torch
from torch import nn
from torch.nn.utils import parametrize


def reinitialize(network: nn.Module, stream: torch.Generator) -> None:
    """Give every layer the weights of a new one.

    Torch's initialisers draw from the global generators, whose position is
    as before afterwards.

    Args:
        network: Changed in place; its layers' own ``reset_parameters`` draw.
        stream: A generator of the CPU, which seeds them.
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
                # Of a layer with, say, a spectral norm a computed weight was
                # set, which is kept nowhere until it is assigned.
                for name in getattr(layer, 'parametrizations', ()):
                    setattr(layer, name, getattr(layer, name))
