"""Errors of mmengine and torch, told as a user's mistake."""
import inspect
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import mmengine.registry

from tadfkd.errors import UserError, nearest, reason_of


def registries() -> Iterator[mmengine.registry.Registry]:
    """Every registry of mmengine with all of its descendants."""
    from tadfkd.registry import SELECTORS
    pending = [
        registry for registry in vars(mmengine.registry).values()
        if isinstance(registry, mmengine.registry.Registry)
    ] + [SELECTORS]
    while pending:
        registry = pending.pop()
        yield registry
        pending.extend(registry.children.values())


_NOT_REGISTERED = re.compile(
    r'(?P<name>[\w./-]+) is not in the (?P<scope>\w+)::(?P<role>.+?) registry')

_NO_MEMORY = re.compile("can't allocate memory|out of memory")

_NO_DICT = 'cfg should be a dict'

_NO_TYPE = 'must contain the key "type"'

_WRONG_ARGUMENT = re.compile(
    r"(?P<owner>\w+)\.__init__\(\) (?P<problem>got an unexpected keyword "
    r"argument '(?P<key>\w+)'|missing \d+ required .*)")


def _arguments(owner: str) -> set[str]:
    """Argument names of the registered classes that are or extend ``owner``,
    which may hand unknown arguments on to a base class."""
    return {
        argument
        for registry in registries()
        for component in registry.module_dict.values()
        if inspect.isclass(component)
        and owner in {base.__name__
                      for base in component.__mro__}
        for base in component.__mro__ if '__init__' in vars(base)
        for argument, parameter in inspect.signature(vars(
            base)['__init__']).parameters.items()
        if argument != 'self' and parameter.kind is not parameter.VAR_KEYWORD
        and parameter.kind is not parameter.VAR_POSITIONAL
    }


@contextmanager
def registry_errors_as_user_errors() -> Iterator[None]:
    """Turn mmengine's answer to a misspelt name into a :class:`UserError`.

    Raises:
        UserError: For an unknown component name, with the nearest known one,
            and for an unknown or missing argument of a component.
    """
    try:
        yield
    except KeyError as error:
        if _NO_TYPE in str(error):
            raise UserError('a component in the config has no type: set its '
                            f'type to a registered name ({error})') from error
        match = _NOT_REGISTERED.search(str(error))
        if match is None:
            raise
        name = match['name'].rpartition('.')[2]
        known = {
            key
            for registry in registries() if registry.name == match['role']
            for key in registry.module_dict
        }
        raise UserError(
            f'no {match["role"]} is registered as '
            f'{match["name"]!r}: {nearest(name, known)}') from error
    except TypeError as error:
        if _NO_DICT in str(error):
            raise UserError('a component in the config is no dictionary '
                            f'({error}): write dict(type=...)') from error
        match = _WRONG_ARGUMENT.search(str(error))
        if match is None:
            raise
        hint = nearest(match['key'], _arguments(
            match['owner'])) if match['key'] else 'set it'
        raise UserError(f'{match["owner"]} in the config {match["problem"]}: '
                        f'{hint}') from error


@contextmanager
def as_config_error(what: str,
                    begun: Callable[[], bool] = lambda: False,
                    problem: str = 'cannot be built') -> Iterator[None]:
    """Within the block something is built as a config says, so that whatever
    fails does so over the config.

    Args:
        what: Stands in the message, with its config path.
        begun: Whether what was built is at work already; what fails from
            then on passes as it is.
        problem: What is said of it.

    Raises:
        UserError: In place of any exception, with its kind, the first line
            of its message, and where it was raised.
    """
    try:
        with registry_errors_as_user_errors():
            yield
    except UserError:
        raise
    except Exception as error:
        if begun():
            raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise UserError(
            f'{what} {problem} ({type(error).__name__}: '
            f'{reason_of(error)}, in {Path(where.filename).name}, line '
            f'{where.lineno}): change it') from error


@contextmanager
def memory_errors_as_user_errors() -> Iterator[None]:
    """Turn a lack of memory, on whatever device, into a :class:`UserError`.

    Raises:
        UserError: With how much was asked for, where torch says it.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not _NO_MEMORY.search(
                str(error)):
            raise
        raise UserError(f'there is not enough memory ({reason_of(error)}): '
                        'lower model.batch_size, or what else the config has '
                        'that many of') from error
