"""One optimiser per network, and mixed precision on any device."""
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import (AmpOptimWrapper, OptimWrapper, OptimWrapperDict,
                            build_optim_wrapper)
from torch import nn

from tadfkd.distributed.wrapper import unwrapped
from tadfkd.engine.skip_nonfinite import GuardedOptimWrapper
from tadfkd.errors import UserError, nearest
from tadfkd.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from tadfkd.structures import Counters


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


class GuardedAutocastOptimWrapper(GuardedOptimWrapper, AutocastOptimWrapper):
    """The :class:`AutocastOptimWrapper` of a distillation."""


class GuardedAmpOptimWrapper(GuardedOptimWrapper, AmpOptimWrapper):
    """mmengine's ``AmpOptimWrapper`` in a distillation."""


#: For each type that a config may name, the type that is built.
_GUARDED: dict[type[OptimWrapper], type[GuardedOptimWrapper]] = {
    OptimWrapper: GuardedOptimWrapper,
    AutocastOptimWrapper: GuardedAutocastOptimWrapper,
    AmpOptimWrapper: GuardedAmpOptimWrapper,
}


class NetworkOptimWrappers(OptimWrapperDict):
    """One wrapper per network. ``lr`` is also the student's, by which tools
    tell the lines of training from others in a log."""

    def get_lr(self) -> dict[str, list[float]]:
        """Learning rates by ``NETWORK.lr``, and the student's by ``lr``."""
        rates = super().get_lr()
        if 'student.lr' in rates:
            rates['lr'] = rates['student.lr']
        return rates


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class PerNetworkConstructor:
    """Builds an optimiser wrapper for each named child of the model.

    Every wrapper skips steps that are not finite, see
    :class:`~tadfkd.engine.GuardedOptimWrapper`.

    Args:
        optim_wrapper_cfg: For each child's name (``student``, ``generator``)
            the config of its optimiser wrapper. Its ``type`` is
            ``OptimWrapper``, ``AutocastOptimWrapper``, ``AmpOptimWrapper`` or
            a registered subclass of ``GuardedOptimWrapper``.
        paramwise_cfg: Must be None, because it belongs to one child's config.

    Raises:
        UserError: If the model has no such child, a trained network has no
            optimiser, a type is not allowed, ``paramwise_cfg`` is set, or a
            wrapper scales losses that the algorithm does not let be scaled.
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
            wrapper = build_optim_wrapper(children[name],
                                          _with_guarded_type(name, config))
            if hasattr(wrapper, 'loss_scaler') and not getattr(
                    model, 'scalable_losses', True):
                raise UserError(
                    f'{type(model).__name__} combines gradients itself, so '
                    f'that its losses cannot be scaled, as {config["type"]} '
                    f'does: set optim_wrapper.{name}.type to '
                    'AutocastOptimWrapper, which is --amp')
            wrapper.attach(name, counters, networks)
            wrappers[name] = wrapper
        return NetworkOptimWrappers(**wrappers)


def _with_guarded_type(network: str, config: dict) -> dict:
    kind = OPTIM_WRAPPERS.get(config.get('type', 'OptimWrapper'))
    if kind is None:
        # mmengine refuses it, with the nearest registered name.
        return config
    if not issubclass(kind, GuardedOptimWrapper):
        if kind not in _GUARDED:
            raise UserError(
                f'{kind.__name__} does not skip steps that are not finite: '
                f'set optim_wrapper.{network}.type to OptimWrapper, '
                'AutocastOptimWrapper or AmpOptimWrapper, or let '
                f'{kind.__name__} extend tadfkd.engine.GuardedOptimWrapper')
        kind = _GUARDED[kind]
    return dict(config, type=kind)
