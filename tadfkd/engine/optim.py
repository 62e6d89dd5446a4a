"""One optimiser a network, and mixed precision on any device."""
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict, build_optim_wrapper
from torch import nn

from tadfkd.distributed.wrapper import unwrapped
from tadfkd.engine.skip_nonfinite import finite
from tadfkd.errors import UserError, nearest
from tadfkd.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from tadfkd.structures import Counters


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class PerNetworkConstructor:
    """An optimiser wrapper for each named child of the model.

    Whatever its type, it takes no step that is not finite; see
    :class:`~tadfkd.engine.skip_nonfinite.SkipNonfiniteSteps`.

    Args:
        optim_wrapper_cfg: For each child's name (``student``, ``generator``)
            the config of its optimiser wrapper.
        paramwise_cfg: Must be None: it goes into the child's config.

    Raises:
        UserError: If the model has no such child, one that it trains is
            missing, ``paramwise_cfg`` is set, or losses would be scaled of
            an algorithm that does not stand it.
    """

    def __init__(self,
                 optim_wrapper_cfg: dict,
                 paramwise_cfg: dict | None = None) -> None:
        if paramwise_cfg is not None:
            raise UserError('paramwise_cfg must belong to one network: move '
                            'it to optim_wrapper.student or '
                            'optim_wrapper.generator')
        self.configs = optim_wrapper_cfg

    def __call__(self, model: nn.Module) -> OptimWrapperDict:
        """Build the wrappers."""
        model = unwrapped(model)
        children = dict(model.named_children())
        for name in getattr(model, 'trained_networks', ()):
            if not isinstance(self.configs.get(name), dict):
                raise UserError(f'optim_wrapper has no {name}: set '
                                f'optim_wrapper.{name}')
        counters = getattr(model, 'counters', Counters())
        networks = [
            child for name, child in children.items() if name in self.configs
        ]
        wrappers = {}
        for name, config in self.configs.items():
            if name == 'type':
                continue
            if name not in children:
                raise UserError(f'optim_wrapper has the key {name!r}, but the '
                                'model has no network of that name: '
                                f'{nearest(name, children)}')
            kind = OPTIM_WRAPPERS.get(config.get('type', 'OptimWrapper'))
            if kind is not None:
                config = dict(config, type=finite(kind))
            wrappers[name] = build_optim_wrapper(children[name], config)
            if hasattr(wrappers[name], 'loss_scaler') and \
                    not getattr(model, 'scalable_losses', True):
                raise UserError(
                    f'{type(model).__name__} combines gradients itself, so '
                    f'that its losses cannot be scaled, as {config["type"]} '
                    f'does: set optim_wrapper.{name}.type to '
                    'AutocastOptimWrapper, which is --amp')
            wrappers[name].watch(name, counters, networks)
        return OptimWrapperDict(**wrappers)


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Runs the forward passes of a step in bfloat16, on any device.

    mmengine's ``AmpOptimWrapper`` refuses to work without a GPU. bfloat16
    has the exponents of float32, so it needs no scaling of the loss.
    Parameters, optimiser and losses stay in float32.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The context of the step's forward passes."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(
                device, torch.bfloat16):
            yield
