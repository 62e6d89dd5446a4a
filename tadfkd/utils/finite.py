"""Numbers that are neither infinite nor no numbers."""
import math

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def gradient_norm(optimizer: Optimizer, loss: Tensor | float) -> Tensor:
    """L2 norm of all gradients that an optimiser would step along.

    Args:
        optimizer: With gradients.
        loss: What they are of, a scalar.

    Returns:
        A scalar that is finite only if each of the gradients and the loss
        are.
    """
    norm = torch.nn.utils.get_total_norm([
        weight.grad for group in optimizer.param_groups
        for weight in group['params'] if weight.grad is not None
    ])
    # Of a number that is not finite, 0 times it is none.
    return norm + 0 * loss


def step_if_finite(optimizer: Optimizer, loss: Tensor) -> None:
    """Step, unless the loss or a gradient is not finite; waits for the
    device."""
    if math.isfinite(float(gradient_norm(optimizer, loss))):
        optimizer.step()


def nonfinite_names(model: nn.Module) -> list[str]:
    """Names of weights and running statistics that are not finite, but for
    those of a ``teacher``."""
    # Not all buffers: a mask may be infinite.
    return [
        name
        for name, value in (*model.named_parameters(), *model.named_buffers())
        if not name.startswith('teacher.') and (
            isinstance(value, nn.Parameter) or 'running_' in name)
        and not value.isfinite().all()
    ]
