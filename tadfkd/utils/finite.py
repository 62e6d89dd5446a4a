"""Numbers that are neither infinite nor no numbers."""
import math

import torch
from torch import Tensor
from torch.optim import Optimizer


def gradient_norm(optimizer: Optimizer) -> Tensor:
    """L2 norm of all gradients that an optimiser would step along, a scalar
    that is finite only if each of them is."""
    return torch.nn.utils.get_total_norm([
        weight.grad for group in optimizer.param_groups
        for weight in group['params'] if weight.grad is not None
    ])


def step_if_finite(optimizer: Optimizer, loss: Tensor) -> None:
    """Step, unless the loss or a gradient is not finite; waits for the
    device."""
    # Of a number that is not finite, 0 times it is none.
    if math.isfinite(float(gradient_norm(optimizer) + 0 * loss)):
        optimizer.step()
