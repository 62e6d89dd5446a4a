"""The moving average of a network's weights."""
import copy

import torch
from torch import Tensor, nn


class AveragedNetwork(nn.Module):
    """The moving average of a network, always in eval mode.

    mmengine's and torch's averaged models read from the device at each update
    whether it is the first one, so the host waits; this one never does.

    Args:
        network: It is copied.

    Attributes:
        module: The network with averaged weights and buffers.

    Example:
        >>> network = nn.Linear(1, 1)
        >>> average = AveragedNetwork(network)
        >>> _ = network.weight.data.add_(1.0)
        >>> average.update(network, momentum=0.25)
        >>> (network.weight - average.module.weight).item()
        0.75
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(network).requires_grad_(False)
        self.train()

    @torch.no_grad()
    def update(self, network: nn.Module, momentum: float) -> None:
        """Move towards the network.

        Whole numbers, such as a count of batches, are taken over.

        Args:
            network: With the same parameters and buffers.
            momentum: Share of the new values, in [0, 1].
        """
        own, new = _split(self.module), _split(network)
        torch._foreach_lerp_(own[0], new[0], momentum)
        for old, now in zip(own[1], new[1]):
            old.copy_(now)
        # Some networks compute values from their weights in eval mode.
        self.train()

    def train(self, mode: bool = True) -> 'AveragedNetwork':
        """Stay in eval mode, though loops call ``model.train()``."""
        return super().train(False)


def _split(network: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters and buffers that are floats, and all others."""
    tensors = [*network.parameters(), *network.buffers()]
    return ([one for one in tensors if one.is_floating_point()],
            [one for one in tensors if not one.is_floating_point()])
