"""A dry run of ``load_state_dict``."""
import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tadfkd.errors import UserError, reason_of


class DryLoad:
    """A dry run of ``module.load_state_dict``; the module does not change.

    The module's own load hooks run, as mmpretrain's networks rename and drop
    weights of older versions in them.

    Args:
        module: The network.
        weights: The state dict.
        source: Where the state dict is from, for messages.

    Attributes:
        expected: The module's parameters and persistent buffers by name.
        would_load: The tensors that would be copied onto them, by name.
        parameters: The names of ``expected`` that are parameters.
        unexpected: The names in the state dict that the module does not have.

    Raises:
        UserError: If a load hook of the module fails.
    """

    def __init__(self, module: nn.Module, weights: Mapping[str, Tensor],
                 source: str) -> None:
        self.weights = weights
        self._addresses = {
            tensor.untyped_storage().data_ptr()
            for tensor in weights.values()
        }
        self.expected: dict[str, Tensor] = {}
        self.would_load: dict[str, Tensor] = {}
        self.parameters: set[str] = set()
        handles = [
            child._register_load_state_dict_pre_hook(self._observe, True)
            for child in module.modules()
        ]
        disabled = logging.root.manager.disable
        try:
            # mmpretrain's load hooks log what they rename. Nothing is loaded
            # here, so they are silenced.
            logging.disable(max(disabled, logging.INFO))
            keys = module.load_state_dict(weights, strict=False)
        except Exception as error:
            # Load hooks can fail in any way on tensors of unexpected shapes.
            raise UserError(f'{source} does not fit the network '
                            f'({reason_of(error)}): name the checkpoint of '
                            'this architecture and class count') from error
        finally:
            logging.disable(disabled)
            for handle in handles:
                handle.remove()
        self.unexpected = keys.unexpected_keys

    def _observe(self, child: nn.Module, state_dict: dict[str, Tensor],
                 prefix: str, *_: Any) -> None:
        """Note the tensors, and let torch copy each tensor onto itself.

        It runs after the module's own hooks and before torch copies.
        """
        buffers = {
            name: buffer
            for name, buffer in child._buffers.items()
            if name not in child._non_persistent_buffers_set
        }
        for name, tensor in (child._parameters | buffers).items():
            # A layer without bias has an entry 'bias' that is None.
            if tensor is None:
                continue
            name = prefix + name
            self.expected[name] = tensor
            if isinstance(tensor, nn.Parameter):
                self.parameters.add(name)
            if name in state_dict:
                self.would_load[name] = state_dict[name]
                state_dict[name] = tensor

    def _is_from_file(self, tensor: Tensor) -> bool:
        """Whether it is a tensor of the file, a view of one, or a copy."""
        return tensor.untyped_storage().data_ptr() in self._addresses or any(
            tensor.shape == other.shape and torch.equal(tensor, other)
            for other in self.weights.values())

    def shape_mismatches(self) -> list[str]:
        """Tensors of another shape, also those that a load hook resizes."""
        return [
            f'{name}: {list(self.weights.get(name, tensor).shape)} instead of '
            f'{list(self.expected[name].shape)}'
            for name, tensor in self.would_load.items()
            if tensor.shape != self.expected[name].shape or not name.endswith(
                'num_batches_tracked') and not self._is_from_file(tensor)
        ]

    def dtype_mismatches(self) -> list[str]:
        """Integer tensors in the file for floating-point weights."""
        return [
            f'{name}: {tensor.dtype} instead of {self.expected[name].dtype}'
            for name, tensor in self.would_load.items()
            if self.expected[name].is_floating_point()
            and not tensor.is_floating_point()
        ]
