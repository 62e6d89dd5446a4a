"""Checks of config values against the annotations of their components."""
import collections.abc
import functools
import inspect
import math
import os
import reprlib
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Literal, Union

import torch

from tadfkd.errors import UserError

_WORDS = {
    bool: 'True or False',
    int: 'a whole number',
    float: 'a finite number',
    str: 'a string',
    dict: 'a dictionary',
    types.NoneType: 'None',
}
#: A list fits a tuple and a tuple fits a list, because JSON has no tuples.
_SEQUENCES = (list, tuple, set, collections.abc.Sequence,
              collections.abc.Iterable)
_MAPPINGS = (dict, collections.abc.Mapping, collections.OrderedDict)


def check_arguments(where: str, component: Callable,
                    arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that do not fit their annotations.

    Three kinds of arguments pass: those without an annotation, those whose
    annotation says nothing about a config, and the default of the argument.

    Args:
        where: The config path of the arguments, ``''`` for the whole config.
        component: The class or function that takes the arguments.
        arguments: Values by name. Unknown names pass.

    Raises:
        UserError: For the first value that does not fit.
    """
    known = parameters_of(component)
    for name, value in arguments.items():
        parameter = known.get(name)
        if parameter is None or value is parameter.default or fits(
                value, parameter.annotation):
            continue
        path = f'{where}.{name}' if where else name
        raise UserError(f'{name} must be {_in_words(parameter.annotation)}, '
                        f'got {reprlib.repr(value)}: set {path}')


@functools.cache
def parameters_of(component: Callable) -> dict[str, inspect.Parameter]:
    """Parameters of a class or function, by name, with resolved annotations.

    If a class takes ``**kwargs``, the parameters of its base class belong to
    it too.
    """
    if not inspect.isclass(component):
        return _own_parameters(component)
    found: dict[str, inspect.Parameter] = {}
    for base in component.__mro__:
        if '__init__' not in vars(base):
            continue
        own = _own_parameters(vars(base)['__init__'])
        found = own | found
        if not any(parameter.kind is parameter.VAR_KEYWORD
                   for parameter in own.values()):
            break
    return {
        name: parameter
        for name, parameter in found.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD,
                              parameter.KEYWORD_ONLY) and name != 'self'
    }


def _own_parameters(function: Callable) -> dict[str, inspect.Parameter]:
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:
        # A function that is written in C has no signature.
        return {}
    try:
        hints = typing.get_type_hints(function)
    except (NameError, AttributeError, TypeError, SyntaxError):
        # The annotations name what only a type checker imports, or the
        # callable has no annotations to resolve.
        hints = {}
    return {
        name: parameter.replace(annotation=hints.get(name, Any))
        for name, parameter in parameters.items()
    }


def fits(value: object, annotation: Any) -> bool:
    """Whether a value from a config fits an annotation.

    A whole number fits a float, but NaN and infinity do not. A dictionary
    fits any class, because it may be the config of an object.
    """
    kind = typing.get_origin(annotation) or annotation
    inner = typing.get_args(annotation)
    if kind in (Union, types.UnionType):
        return any(fits(value, option) for option in inner)
    if kind is Literal:
        return value in inner
    if kind is float:
        return isinstance(value, int | float) and not isinstance(
            value, bool) and -math.inf < value < math.inf
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind in _SEQUENCES:
        if not isinstance(value, list | tuple):
            return False
        if _has_length(kind, inner):
            return len(value) == len(inner) and all(map(fits, value, inner))
        return not inner or all(fits(item, inner[0]) for item in value)
    if kind in _MAPPINGS:
        # init_cfg, for example, may be a list of configs.
        return isinstance(
            value, dict) or isinstance(value, list) and value != [] and all(
                isinstance(item, dict) for item in value)
    if kind is Any or not inspect.isclass(kind):
        return True
    if kind in _WORDS or isinstance(value, kind):
        return isinstance(value, kind)
    if isinstance(value, str) and (kind in (torch.device, torch.dtype)
                                   or issubclass(kind, (os.PathLike, Enum))):
        return True
    return isinstance(value, dict) or not isinstance(
        value, bool | int | float | str | list | tuple | None)


def _has_length(kind: Any, inner: tuple) -> bool:
    # Many annotations say tuple[int] and mean a tuple of any length.
    return kind is tuple and len(inner) > 1 and inner[-1] is not Ellipsis


def _in_words(annotation: Any) -> str:
    kind = typing.get_origin(annotation) or annotation
    inner = typing.get_args(annotation)
    if kind in (Union, types.UnionType):
        words = dict.fromkeys(map(_in_words, inner))
        return ' or '.join(words)
    if kind is Literal:
        return ' or '.join(map(repr, inner))
    if kind in _SEQUENCES:
        if _has_length(kind, inner):
            return f'a list of {len(inner)} values'
        return 'a list' + (f' (each item {_in_words(inner[0])})'
                           if inner and inner[0] is not Any else '')
    if kind in _MAPPINGS:
        return _WORDS[dict]
    return _WORDS.get(kind) or 'a dictionary'
