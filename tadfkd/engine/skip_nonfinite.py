"""Optimiser steps that are skipped if they are not finite."""
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


class GuardedOptimWrapper(OptimWrapper):
    """An optimiser wrapper that skips steps that are not finite.

    A step is skipped if its loss or the norm of all its gradients is NaN or
    infinite. Weights and optimiser state stay as they are. The buffers of all
    networks (batch-norm statistics, spectral norms) get back the values that
    they had when the step's first :meth:`optim_context` was entered. The
    skipped step is counted. A norm above 1.8e19 counts as infinite, because
    Adam would store its square, which float32 cannot hold.

    The wrapper waits for the norm once per step, as ``torch.amp.GradScaler``
    does. On a GPU, the queue of kernels runs empty at that moment.

    :class:`~tadfkd.engine.PerNetworkConstructor` builds the guarded form of
    the type that a config names, and calls :meth:`attach`. To guard a wrapper
    of another library, write ``class Mine(GuardedOptimWrapper, Theirs)``.
    """

    def attach(self, network: str, counters: Counters,
               networks: Iterable[nn.Module]) -> None:
        """Say where steps are counted, and which buffers are restored.

        Args:
            network: Name of the network that this wrapper trains.
            counters: Those of the model.
            networks: All networks whose buffers a step may change.
        """
        self._network = network
        self._counters = counters
        buffers = [
            buffer for network_ in networks for buffer in network_.buffers()
        ]
        # One list per dtype: torch copies such a list in a single call.
        self._buffers = [[
            buffer for buffer in buffers if buffer.dtype == dtype
        ] for dtype in {buffer.dtype
                        for buffer in buffers}]
        # Allocated by the first optim_context. A network that learns in the
        # step of another network never enters its own context, and the other
        # network's wrapper restores the buffers.
        self._saved: list[list[Tensor]] = []
        self._in_step = False
        self._loss: Tensor | float = 0.0

    def load_state_dict(self, state_dict: dict) -> None:
        """Load the state of a checkpoint.

        The order of its values in memory becomes that of the weights, and
        ``fused`` stays as it is: torch's fused kernels on a CPU read both
        one after the other, and would mix up values of different orders.
        """
        groups = self.optimizer.param_groups
        fused = [group.get('fused') for group in groups]
        super().load_state_dict(state_dict)
        for group, own in zip(self.optimizer.param_groups, fused):
            if 'fused' in group:
                group['fused'] = own
        for weight, state in self.optimizer.state.items():
            for name, value in state.items():
                if isinstance(value, Tensor) and value.shape == weight.shape:
                    state[name] = torch.empty_like(
                        weight, dtype=value.dtype).copy_(value)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The context of the step's forward passes."""
        # With accumulated gradients a step has several contexts, and the
        # first of them already changes buffers.
        if not self._in_step:
            self._in_step = True
            self._saved = self._saved or [[
                torch.empty_like(buffer) for buffer in group
            ] for group in self._buffers]
            for saved, buffers in zip(self._saved, self._buffers):
                torch._foreach_copy_(saved, buffers)
        with super().optim_context(model):
            yield

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Add the gradients of ``loss``, a scalar."""
        self.add_loss(loss)
        super().backward(loss, **kwargs)

    def add_loss(self, loss: Tensor) -> None:
        """Let the next step depend on ``loss``, a scalar.

        Call this where the wrapper of another network runs the backward pass
        that fills the gradients of this network too.
        """
        self._loss = self._loss + loss.detach()

    def step(self, **kwargs: Any) -> None:
        """Step, if loss and gradients are finite."""
        approved = self.approves(self.optimizer, self._loss)
        self._loss = 0.0
        scaled = hasattr(self, 'loss_scaler')
        if not approved and scaled:
            # The GradScaler sees gradients only, and the loss alone may be
            # what is not finite. With these gradients it skips the step too,
            # and lowers its scale.
            for group in self.optimizer.param_groups:
                for parameter in group['params']:
                    if parameter.grad is not None:
                        parameter.grad.fill_(torch.nan)
        if approved or scaled:
            super().step(**kwargs)

    def approves(self, optimizer: Optimizer, loss: Tensor | float) -> bool:
        """Whether ``optimizer`` may step.

        The answer is counted as a step of the network. If it is False, the
        buffers of all networks are restored.

        Args:
            optimizer: Of the network, or of a copy that stands for it.
            loss: A scalar, whose gradients the optimiser would use.
        """
        self._in_step = False
        norms = gradient_norm(optimizer, loss)
        # A process may have weights of its own (pixels). All processes must
        # come to the same answer.
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
        for saved, buffers in zip(self._saved, self._buffers):
            torch._foreach_copy_(buffers, saved)
        return False


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
