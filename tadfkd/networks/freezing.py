"""Training one network without touching the others."""
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Within the block, ``modules`` neither get gradients nor change.

    Gradients still flow *through* them to their inputs. The modules are in
    eval mode, so that batch-norm statistics do not move either. Both are as
    before when the block ends, also by an exception.
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
            # Not child.train(), which walks the whole subtree each time.
            child.training = training
