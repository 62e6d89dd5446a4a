"""Keep the channels of a pixel together in memory."""
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from torch import nn


def use_channels_last(**networks: nn.Module | None) -> str | None:
    """Order the weights of networks in place, if that is safe.

    The weights decide: a convolution's output is ordered like them, and
    loaded values are copied in their order. The order of a network's images
    goes on into the next network. So if a processor cannot train one of the
    networks in this order (:func:`unsafe_layer`), all keep theirs.

    Args:
        **networks: By name; None is skipped.

    Returns:
        The layer that is unsafe and its network, or None.
    """
    there = {
        name: network
        for name, network in networks.items() if network is not None
    }
    if get_device() == 'cpu':
        for name, network in there.items():
            layer = unsafe_layer(network)
            if layer is not None:
                return f'{layer} of the {name}'
    for network in there.values():
        network.to(memory_format=torch.channels_last)
    return None


def unsafe_layer(network: nn.Module) -> str | None:
    """A layer that oneDNN cannot train with channels last, or None.

    It is a convolution of 1x1 with a stride and with fewer input channels
    than the processor has numbers in a register: its backward pass writes
    past its memory (github.com/uxlfoundation/oneDNN/issues/6035, seen with
    torch 2.14.1). A frozen layer is safe.
    """
    # torch can be told to use less than the processor has; oneDNN is not.
    processor: dict = getattr(torch.cpu, 'get_capabilities', dict)()
    wide = processor.get('avx512_f') or \
        torch.backends.cpu.get_cpu_capability().startswith('AVX512')
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) \
                and max(module.stride) > 1 \
                and module.in_channels < (16 if wide else 8) \
                and module.weight.requires_grad:
            return name or type(module).__name__
    return None


@contextmanager
def plain_order(network: nn.Module) -> Iterator[None]:
    """Within the block, weights lie in memory as torch makes them.

    Random numbers fill a weight in the order of memory. Drawn within the
    block, initial weights are the same with channels last and without.

    Args:
        network: Its weights get their order back when the block ends.
    """
    weights = [
        weight for weight in network.parameters()
        if weight.ndim == 4 and not weight.is_contiguous()
    ]
    for weight in weights:
        weight.data = weight.data.contiguous()
    try:
        yield
    finally:
        for weight in weights:
            weight.data = weight.data.contiguous(
                memory_format=torch.channels_last)
