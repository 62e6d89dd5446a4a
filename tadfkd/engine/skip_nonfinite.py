"""Optimiser steps that are taken only if they are finite."""
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.optim import Optimizer

from tadfkd.structures import Counters
from tadfkd.utils.finite import gradient_norm


class SkipNonfiniteSteps(OptimWrapper):
    """What :func:`finite` puts before an optimiser wrapper.

    A step whose loss, or norm of all gradients, is not finite is not taken:
    weights and optimiser stay as they are, and the buffers of all networks
    (batch-norm statistics, spectral norms) become what they were when the
    step's first :meth:`optim_context` was entered. It is counted. A norm that
    float32 cannot hold, above 1.8e19, is not finite either: Adam would keep
    its square.

    The verdict is waited for, once a step, as ``torch.amp.GradScaler`` does
    for its own; on a GPU that lets the queue of work run empty once a step.
    """

    def watch(self, network: str, counters: Counters,
              networks: Iterable[nn.Module]) -> None:
        """Say what is counted where.

        Args:
            network: Name of the one that is trained.
            counters: Of the model.
            networks: All whose buffers a step may move.
        """
        self._network = network
        self._counters = counters
        buffers = [
            buffer for network_ in networks for buffer in network_.buffers()
        ]
        # One type at a time, because torch copies such lists at once.
        self._buffers = [[
            buffer for buffer in buffers if buffer.dtype == dtype
        ] for dtype in {buffer.dtype
                        for buffer in buffers}]
        # Nothing, for a network that learns along with another.
        self._kept: list[list[Tensor]] = []
        self._begun = False
        self._loss: Tensor | float = 0.0

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The context of the step's forward passes."""
        # Several may lead to one step, with the first move of buffers.
        if not self._begun:
            self._begun = True
            self._kept = self._kept or [[
                torch.empty_like(buffer) for buffer in group
            ] for group in self._buffers]
            for kept, buffers in zip(self._kept, self._buffers):
                torch._foreach_copy_(kept, buffers)
        with super().optim_context(model):
            yield

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Add to the gradients."""
        self.add_loss(loss)
        super().backward(loss, **kwargs)

    def add_loss(self, loss: Tensor) -> None:
        """Say of which loss the gradients of the next step are, where another
        network's wrapper went backward."""
        self._loss = self._loss + loss.detach()

    def step(self, **kwargs: Any) -> None:
        """Step, if all is finite."""
        finite = self.approves(self.optimizer, self._loss)
        self._loss = 0.0
        if not finite and hasattr(self, 'loss_scaler'):
            # So that the GradScaler skips the step too, whatever was not
            # finite, and scales less from then on.
            for group in self.optimizer.param_groups:
                for parameter in group['params']:
                    if parameter.grad is not None:
                        parameter.grad.fill_(torch.nan)
        if finite or hasattr(self, 'loss_scaler'):
            super().step(**kwargs)

    def approves(self, optimizer: Optimizer, loss: Tensor | float) -> bool:
        """Whether ``optimizer`` may step, counted as a step of the network;
        if not, the buffers are put back.

        Args:
            optimizer: Of the network, or of a copy that stands for it.
            loss: What the gradients are of.
        """
        self._begun = False
        norms = gradient_norm(optimizer, loss)
        # Where a process has weights of its own the others are to agree.
        all_reduce(norms, 'mean')
        norm = float(norms)
        if hasattr(self, 'loss_scaler'):
            norm /= self.loss_scaler.get_scale()
        updates = self._counters.updates[self._network]
        if math.isfinite(norm):
            updates.applied += 1
            updates.gradient_norm_sum += norm
            updates.skipped_in_a_row = 0
            return True
        updates.skipped += 1
        updates.skipped_in_a_row += 1
        for kept, buffers in zip(self._kept, self._buffers):
            torch._foreach_copy_(buffers, kept)
        return False


def finite(wrapper: type[OptimWrapper]) -> type[SkipNonfiniteSteps]:
    """The class of wrappers that does the same, and takes only steps that
    are finite."""
    if issubclass(wrapper, SkipNonfiniteSteps):
        return wrapper
    return type(f'Finite{wrapper.__name__}', (SkipNonfiniteSteps, wrapper), {})
