"""Read the inputs of layers during a forward pass."""
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn

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
