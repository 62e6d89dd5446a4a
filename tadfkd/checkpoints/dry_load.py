"""Finding out what a network would do with a state dict."""
import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tadfkd.errors import UserError


class DryLoad:
    """What a module would do with a state dict, found out by a rehearsal
    that leaves the module as it is.

    Attributes:
        expected: The module's tensors by name.
        arriving: Those of the file that would be copied onto them.
        parameters: The names that are parameters.
        unexpected: The names in the file that nothing wants.
    """

    def __init__(self, module: nn.Module, weights: Mapping[str, Tensor],
                 source: str) -> None:
        self.weights = weights
        self._memory = {
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
            # The hooks say what they do, which here they do not.
            logging.disable(max(disabled, logging.INFO))
            found = module.load_state_dict(weights, strict=False)
        except Exception as error:
            # The rules for state dicts meet anybody's shapes.
            reason = str(error).strip().partition('\n')[0]
            raise UserError(f'{source} does not fit the network '
                            f'({reason or type(error).__name__}): name the '
                            'checkpoint of this very architecture and class '
                            'count') from error
        finally:
            logging.disable(disabled)
            for handle in handles:
                handle.remove()
        self.unexpected = found.unexpected_keys

    def _observe(self, child: nn.Module, state_dict: dict[str, Tensor],
                 prefix: str, *_: Any) -> None:
        """Runs last before torch copies: a tensor is copied onto itself."""
        buffers = {
            name: buffer
            for name, buffer in child._buffers.items()
            if name not in child._non_persistent_buffers_set
        }
        for name, tensor in (child._parameters | buffers).items():
            # A layer without a bias has None under that name.
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
        """Whether it is a tensor of the file, a part of one, or a copy."""
        return tensor.untyped_storage().data_ptr() in self._memory or any(
            tensor.shape == other.shape and torch.equal(tensor, other)
            for other in self.weights.values())

    def of_another_shape(self) -> list[str]:
        """What does not fit, or only would because it is resized."""
        return [
            f'{name}: {list(self.weights.get(name, tensor).shape)} instead of '
            f'{list(self.expected[name].shape)}'
            for name, tensor in self.would_load.items()
            if tensor.shape != self.expected[name].shape or not name.endswith(
                'num_batches_tracked') and not self._is_from_file(tensor)
        ]

    def of_another_kind(self) -> list[str]:
        """Numbers that are not floating, for weights that are."""
        return [
            f'{name}: {tensor.dtype} instead of {self.expected[name].dtype}'
            for name, tensor in self.would_load.items()
            if self.expected[name].is_floating_point()
            and not tensor.is_floating_point()
        ]
