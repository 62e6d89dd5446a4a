"""Reading what flows through a network, in one forward and no other."""
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from torch import Tensor, nn

Module = TypeVar('Module', bound=nn.Module)
Value = TypeVar('Value')


@contextmanager
def capture(modules: Iterable[Module],
            read: Callable[[Module, Tensor], Value]) -> Iterator[list[Value]]:
    """Within the block, collect ``read(module, input)`` of every forward.

    Args:
        modules: The modules to listen to.
        read: Called with the module and its first input, before the module
            runs.

    Yields:
        The collected values, in the order of the calls. The hooks are gone
        when the block ends, also by an exception.
    """
    values: list[Value] = []
    handles = [
        module.register_forward_pre_hook(
            lambda module, inputs, named: values.append(
                read(module, next(iter((*inputs, *named.values()))))),
            with_kwargs=True) for module in modules
    ]
    try:
        yield values
    finally:
        for handle in handles:
            handle.remove()
