"""Checks for NaN and infinity."""
import math

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def gradient_norm(optimizer: Optimizer, loss: Tensor | float) -> Tensor:
    """L2 norm of all gradients that an optimiser would use.

    Args:
        optimizer: With gradients.
        loss: A scalar, whose gradients they are.

    Returns:
        A scalar that is finite only if the loss and all gradients are.
    """
    norm = torch.nn.utils.get_total_norm([
        weight.grad for group in optimizer.param_groups
        for weight in group['params'] if weight.grad is not None
    ])
    # 0 * loss is 0 if the loss is finite, and NaN otherwise.
    return norm + 0 * loss


def step_if_finite(optimizer: Optimizer, loss: Tensor) -> None:
    """Step, unless the loss or a gradient is not finite.

    The call waits for the device.
    """
    if math.isfinite(float(gradient_norm(optimizer, loss))):
        optimizer.step()


def nonfinite_names(model: nn.Module) -> list[str]:
    """Names of parameters and running statistics that are not finite.

    Those of a child called ``teacher`` are left out.
    """
    # Other buffers may be infinite on purpose, such as attention masks.
    return [
        name
        for name, value in (*model.named_parameters(), *model.named_buffers())
        if not name.startswith('teacher.') and (
            isinstance(value, nn.Parameter) or 'running_' in name)
        and not value.isfinite().all()
    ]
