"""Freeze networks while another one is trained."""
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Within the block, ``modules`` get no gradients and do not change.

    Gradients still flow through them to their inputs. The modules are in eval
    mode, so that batch-norm statistics do not change. ``requires_grad`` and
    the modes are restored when the block ends, also by an exception.
    """
    parameters = [
        parameter for module in modules for parameter in module.parameters()
        if parameter.requires_grad
    ]
    modes = [(child, child.training) for module in modules
             for child in module.modules()]
    for parameter in parameters:
        parameter.requires_grad_(False)
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
        for child, training in modes:
            # child.train() would also set the modes of its children.
            child.training = training
