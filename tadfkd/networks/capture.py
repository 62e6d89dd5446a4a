"""Read the inputs of layers during a forward pass."""
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm

from tadfkd.networks.channel_statistics import channel_statistics
from tadfkd.structures import BNStatistics

Module = TypeVar('Module', bound=nn.Module)
Value = TypeVar('Value')


@contextmanager
def capture(modules: Iterable[Module],
            read: Callable[[Module, Tensor], Value]) -> Iterator[list[Value]]:
    """Within the block, collect ``read(module, input)`` of every call.

    Compiled modules run eagerly within the block, because compiled code does
    not call hooks.

    Args:
        modules: The modules to observe.
        read: Called with the module and its first input, before the module
            runs.

    Yields:
        The collected values, in the order of the calls. The hooks are removed
        when the block ends, also by an exception.
    """
    modules = list(modules)
    values: list[Value] = []
    handles = [
        module.register_forward_pre_hook(
            lambda module, inputs, named: values.append(
                read(module, next(iter((*inputs, *named.values()))))),
            with_kwargs=True) for module in modules
    ]
    try:
        with torch.compiler.set_stance(
                'force_eager') if modules else nullcontext():
            yield values
    finally:
        for handle in handles:
            handle.remove()


def has_running_statistics(module: nn.Module) -> bool:
    """Whether it normalises by statistics of the training data."""
    # Not by class, because frozen and fused batch norms have their own
    # classes. The statistics of instance norm are per image, not per batch.
    return isinstance(getattr(module, 'running_mean', None), Tensor) \
        and isinstance(getattr(module, 'running_var', None), Tensor) \
        and not isinstance(module, _InstanceNorm | torch.jit.ScriptModule)


def read_bn_statistics(layer: nn.Module, inputs: Tensor) -> BNStatistics:
    """Mean and biased variance over all dimensions but the second."""
    mean_F, variance_F = channel_statistics(inputs)
    assert isinstance(layer.running_mean, Tensor)
    assert isinstance(layer.running_var, Tensor)
    return BNStatistics(mean_F, variance_F, layer.running_mean,
                        layer.running_var)


def read_features(layer: nn.Module, inputs: Tensor) -> Tensor:
    """One vector per sample: the mean over positions, if there are any."""
    if inputs.ndim > 2 and isinstance(layer, nn.Conv2d):
        return inputs.flatten(2).mean(2)
    return inputs.flatten(1, -2).mean(1) if inputs.ndim > 2 else inputs
