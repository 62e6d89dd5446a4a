"""Networks of a user's own, as a Python object or by the name of a factory."""
import copy
import os
import pkgutil
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from tadfkd.classifiers.facts import Fact, Facts
from tadfkd.classifiers.input_adapter import ChannelOrder, in_255
from tadfkd.errors import UserError
from tadfkd.registry import MODELS

#: What a config file has in place of an object that it cannot hold.
MARK = '<live object>'


class LiveObject(str):
    """An object within a config, which files write as ``'<live object>'``.

    Args:
        value: The object. Copies of the config share it.

    Example:
        >>> from mmengine.config import Config
        >>> config = Config(dict(factory=LiveObject(nn.Identity())))
        >>> config.pretty_text.strip()
        "factory='<live object>'"
        >>> config.factory.value
        Identity()
    """

    value: Any

    def __new__(cls, value: Any) -> 'LiveObject':
        """A string with a value."""
        self = super().__new__(cls, MARK)
        self.value = value
        return self

    def __deepcopy__(self, _: dict) -> 'LiveObject':
        """Share the object."""
        return self


def factory_of(source: str | Callable) -> str:
    """What stands for a network in a config.

    Args:
        source: ``'package.module:factory'``, a class or function that is
            called without arguments, or an ``nn.Module``.

    Returns:
        The name of the factory, or a :class:`LiveObject` if no other process
        could import it: a module, a lambda, or anything that a script or
        notebook defines.

    Example:
        >>> factory_of(nn.Identity)
        'torch.nn.modules.linear:Identity'
        >>> factory_of(lambda: nn.Identity())
        '<live object>'
    """
    if isinstance(source, str):
        return source
    path = f'{getattr(source, "__module__", "")}:' \
        f'{getattr(source, "__qualname__", "")}'
    try:
        is_importable = not path.startswith('__main__:') and \
            pkgutil.resolve_name(path) is source
    except (ImportError, AttributeError, ValueError):
        is_importable = False
    return path if is_importable else LiveObject(source)


def name_of(source: Any) -> str:
    """A name for messages and folders.

    Example:
        >>> name_of(nn.Identity()), name_of(nn.Identity)
        ('Identity', 'Identity')
    """
    source = getattr(source, 'value', source)
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if isinstance(source, dict):
        return str(source.get('type'))
    return getattr(source, '__name__', type(source).__name__)


def build_own_network(factory: str | Callable, arguments: dict[str, Any]
                      | None, role: str) -> nn.Module:
    """The network of a factory.

    Args:
        factory: See :func:`factory_of`. A module is copied, so that the
            user's object stays as it is.
        arguments: Keyword arguments of the factory.
        role: ``'teacher'`` or ``'student'``, for messages.

    Raises:
        UserError: If the object is missing, cannot be imported, fails, or
            does not give a network.
    """
    where = f'model.{role}.factory'
    source: Any = getattr(factory, 'value', factory)
    if source == MARK:
        raise UserError(
            f'the {role} of this config was an object of another process: '
            f'give it again by tadfkd.distill({role}=...), or set {where} to '
            'package.module:function')
    if isinstance(source, str):
        source = _import(source, role)
    if not callable(source):
        raise UserError(f"factory must be 'package.module:function', got "
                        f'{source!r}: set {where}')
    is_network = isinstance(source, nn.Module)
    if is_network and arguments:
        raise UserError(f'the {role} is a network already, but arguments are '
                        f'set: leave model.{role}.arguments out, or give the '
                        'class')
    name = name_of(source)
    try:
        network = copy.deepcopy(source) if is_network else source(
            **(arguments or {}))
    except Exception as error:
        # The factory is the user's code: it can raise any exception.
        remedy = 'give a function that builds it' if is_network else \
            f'correct it, or change model.{role}.arguments'
        raise UserError(
            f'the factory {name} of the {role} failed '
            f'({type(error).__name__}: {error}): {remedy}') from error
    if not isinstance(network, nn.Module):
        raise UserError(f'the factory {name} of the {role} must return a '
                        f'torch.nn.Module, got {type(network).__name__}: '
                        'return the network')
    return network


def _import(path: str, role: str) -> Any:
    try:
        return pkgutil.resolve_name(path)
    except Exception as error:
        # Importing runs the user's code.
        raise UserError(f'the factory {path} cannot be imported '
                        f'({type(error).__name__}: {error}): set '
                        f'model.{role}.factory to package.module:function, '
                        'and PYTHONPATH to where the package is') from error


@MODELS.register_module()
class ModuleClassifier(nn.Module):
    """A student of a user's own: any network from images to logits.

    It keeps its own initialisation. The network takes normalised images and
    gives (B, K) logits; it needs no ``mode``, and no registry.

    Args:
        factory: ``'package.module:function'`` of an installed package or one
            on ``PYTHONPATH``; or the callable or network itself.
        arguments: Keyword arguments of the factory.
        mean: Per channel, in units of [0, ``value_range``]. Without mean and
            std, [0, 1] is mapped to [-1, 1].
        std: Likewise, > 0.
        value_range: White, in the units of ``mean`` and ``std``, >= 0.001.
        channel_order: ``'rgb'`` or ``'bgr'``, what the network gets.

    Raises:
        UserError: If the factory cannot be imported, fails, or does not
            return a network.
    """

    def __init__(self,
                 factory: str | Callable[..., nn.Module],
                 arguments: dict[str, Any] | None = None,
                 mean: Sequence[float] | None = None,
                 std: Sequence[float] | None = None,
                 value_range: float = 255.0,
                 channel_order: ChannelOrder = 'rgb') -> None:
        super().__init__()
        mean, std = in_255('model.student', mean, std, value_range)
        given = dict(mean=mean, std=std, channel_order=channel_order)
        self.facts: Facts = {
            name: Fact(value, 'set in model.student')
            for name, value in given.items() if value is not None
        }
        self.network = build_own_network(factory, arguments, 'student')

    def forward(self, inputs: Tensor, mode: str = 'tensor') -> Any:
        """The output of the network for normalised images.

        Args:
            inputs: images_BCHW.
            mode: Ignored; mmpretrain's classifiers have it.
        """
        return self.network(inputs)


def plain_network(network: nn.Module) -> nn.Module:
    """The network as its owner knows it, without :class:`ModuleClassifier`."""
    return network.network if isinstance(network, ModuleClassifier) \
        else network
