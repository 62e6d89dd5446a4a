"""Give a network new initial weights."""
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from tadfkd.networks.memory_format import plain_order

#: Of which distribution new weights are.
InitialWeights = Literal['default', 'normal']


def reinitialize(network: nn.Module,
                 stream: torch.Generator,
                 weights: InitialWeights = 'default') -> None:
    """Initialise every layer again.

    torch's initialisers draw from the global generators. The state of those
    generators is restored afterwards.

    Args:
        network: Changed in place, running statistics included.
        stream: A generator on the CPU, from which the seed is drawn.
        weights: ``'default'`` for ``reset_parameters`` of each layer.
            ``'normal'`` for the distributions of DCGAN (arXiv 1511.06434):
            N(0, 0.02) for convolutions and linear layers, N(1, 0.02) for the
            factors of batch norms, 0 for all biases. Both are standard
            deviations. Other layers have their ``reset_parameters``.
    """
    seed = int(torch.randint(2**62, (), generator=stream))
    devices = {
        parameter.device
        for parameter in network.parameters()
        if parameter.device.type == 'cuda'
    }
    with torch.random.fork_rng(devices=list(devices)), plain_order(network):
        torch.manual_seed(seed)
        layers: list[Any] = [
            layer for layer in network.modules()
            if hasattr(layer, 'reset_parameters')
        ]
        for layer in layers:
            with parametrize.cached():
                if weights == 'normal':
                    _draw_normal(layer)
                else:
                    layer.reset_parameters()
                # The cached weight of a layer with a parametrization, such as
                # a spectral norm, has changed. The assignment stores it in
                # the layer's parameters.
                for name in getattr(layer, 'parametrizations', ()):
                    setattr(layer, name, getattr(layer, name))


def _draw_normal(layer: Any) -> None:
    if isinstance(layer, _ConvNd | nn.Linear):
        nn.init.normal_(layer.weight, 0.0, 0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        return
    # Of a batch norm: running statistics, and biases of 0.
    layer.reset_parameters()
    if isinstance(layer, _BatchNorm) and layer.affine:
        nn.init.normal_(layer.weight, 1.0, 0.02)
