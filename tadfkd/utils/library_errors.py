"""Errors of mmengine and torch, translated into a user's mistake."""
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import mmengine.registry

from tadfkd.errors import UserError, nearest, reason_of
from tadfkd.utils.annotations import parameters_of


def registries() -> Iterator[mmengine.registry.Registry]:
    """All registries of mmengine with their descendants, and our own."""
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

_WRONG_ARGUMENT = re.compile(
    r"(?P<owner>\w+)\.__init__\(\) (?P<problem>got an unexpected keyword "
    r"argument '(?P<key>\w+)'|missing \d+ required .*)")


def _arguments(owner: str) -> set[str]:
    """Argument names of all registered classes that are or extend ``owner``.

    A class may pass unknown arguments on to its base class, so that the base
    class reports an argument that the user gave to the derived one.
    """
    return {
        argument
        for registry in registries()
        for component in registry.module_dict.values() if owner in
        [base.__name__ for base in getattr(component, '__mro__', ())]
        for argument in parameters_of(component)
    }


@contextmanager
def registry_errors_as_user_errors() -> Iterator[None]:
    """Turn mmengine's error about a wrong name into a :class:`UserError`.

    Raises:
        UserError: For an unknown component, with the most similar known name;
            and for an unknown or missing argument of a component.
    """
    try:
        yield
    except KeyError as error:
        if 'must contain the key "type"' in str(error):
            raise UserError('a component in the config has no type: set its '
                            f'type to a registered name ({error})') from error
        match = _NOT_REGISTERED.search(str(error))
        if match is None:
            raise
        name = match['name'].rpartition('.')[2]
        same_role = [
            registry for registry in registries()
            if registry.name == match['role']
        ]
        scopes = [
            registry.scope for registry in same_role
            if name in registry.module_dict
        ]
        hint = f"did you mean '{scopes[0]}.{name}'?" if scopes else nearest(
            name,
            (key for registry in same_role for key in registry.module_dict))
        raise UserError(f'no {match["role"]} is registered as '
                        f'{match["name"]!r}: {hint}') from error
    except TypeError as error:
        if 'cfg should be a dict' in str(error):
            raise UserError('a component in the config is not a dictionary '
                            f'({error}): write dict(type=...)') from error
        match = _WRONG_ARGUMENT.search(str(error))
        if match is None:
            raise
        hint = nearest(match['key'], _arguments(
            match['owner'])) if match['key'] else 'set it'
        raise UserError(f'{match["owner"]} in the config {match["problem"]}: '
                        f'{hint}') from error


@contextmanager
def as_config_error(
        what: str,
        problem: str = 'cannot be built',
        has_begun: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Blame the config for every exception in the block.

    Use it around code that builds what a config names.

    Args:
        what: Subject of the message, usually a config path.
        problem: Verb of the message.
        has_begun: Whether training has begun. If it has, exceptions pass
            unchanged, because they are not the config's fault.

    Raises:
        UserError: In place of any exception. The message has the exception's
            type, the first line of its message, and where it was raised.
    """
    try:
        with registry_errors_as_user_errors():
            yield
    except UserError:
        raise
    except Exception as error:
        if has_begun():
            raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise UserError(
            f'{what} {problem} ({type(error).__name__}: '
            f'{reason_of(error)}, in {Path(where.filename).name}, line '
            f'{where.lineno}): change it') from error


@contextmanager
def memory_errors_as_user_errors() -> Iterator[None]:
    """Turn a lack of memory, on any device, into a :class:`UserError`.

    Raises:
        UserError: With the requested amount, if torch says it.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not _NO_MEMORY.search(
                str(error)):
            raise
        raise UserError(f'there is not enough memory ({reason_of(error)}): '
                        'lower model.batch_size, or another large number in '
                        'the config') from error
