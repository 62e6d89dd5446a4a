"""Keep the channels of a pixel together in memory."""
import torch
from mmengine.device import get_device
from mmengine.logging import print_log
from torch import nn


def use_channels_last(**networks: nn.Module | None) -> None:
    """Order the weights of networks in place, if that is safe.

    The weights decide: a convolution's output is ordered like them, and
    loaded values are copied in their order. The order of a network's images
    goes on into the next network. So if a processor cannot train one of the
    networks in this order (:func:`unsafe_layer`), all keep theirs, which is
    logged.

    Args:
        **networks: By the name that the log has; None is skipped.
    """
    there = {
        name: network
        for name, network in networks.items() if network is not None
    }
    for name, network in there.items():
        layer = unsafe_layer(network) if get_device() == 'cpu' else None
        if layer is not None:
            print_log(
                'channels stay apart in memory: oneDNN would damage memory '
                f'in the backward pass of {layer} of the {name}',
                logger='current')
            return
    for network in there.values():
        network.to(memory_format=torch.channels_last)


def unsafe_layer(network: nn.Module) -> str | None:
    """A layer that oneDNN cannot train with channels last, or None.

    It is a convolution of 1x1 with a stride and with fewer input channels
    than the processor has numbers in a register: its backward pass writes
    past its memory (github.com/uxlfoundation/oneDNN/issues/6035, seen with
    torch 2.14.1). A frozen layer is safe.
    """
    wide = torch.backends.cpu.get_cpu_capability().startswith('AVX512')
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) \
                and max(module.stride) > 1 \
                and module.in_channels < (16 if wide else 8) \
                and module.weight.requires_grad:
            return name or type(module).__name__
    return None
