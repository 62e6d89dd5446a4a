"""Errors of mmengine and torch, translated into a user's mistake."""
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
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


def _unexpected(owner: str, key: str) -> str:
    """What to do about an argument that a class does not take.

    A class may pass unknown arguments on to its base class, so that the base
    class reports an argument that the user gave to the derived one. So the
    arguments of all classes that are or extend ``owner`` count.

    Args:
        owner: Name of the class.
        key: The argument.
    """
    own: set[str] = set()
    others: set[str] = set()
    for registry in registries():
        families = [
            (parameters_of(component), owner
             in [base.__name__ for base in getattr(component, '__mro__', ())])
            for component in registry.module_dict.values()
        ]
        if any(is_owner for _, is_owner in families):
            for names, is_owner in families:
                (own if is_owner else others).update(names)
    if key in own | others:
        return 'take it out, or add _delete_=True if it was inherited with ' \
            'another type'
    return nearest(key, own)


def unexpected_argument(owner: str, key: str) -> UserError:
    """The error for an argument that a component does not take."""
    return UserError(f'{owner} in the config got an unexpected keyword '
                     f'argument {key!r}: {_unexpected(owner, key)}')


def _unregistered(role: str, scope: str, name: str) -> UserError:
    """The error for a name that a registry does not have."""
    # A package registers its components when they are imported.
    import_module('mmpretrain.registry')
    known: dict[str, str] = {}
    for registry in registries():
        if registry.name == role:
            registry.import_from_location()
            # Only names of the root need no scope everywhere.
            prefix = '' if registry.scope in (scope, 'mmengine') else \
                f'{registry.scope}.'
            for key in registry.module_dict:
                known[key] = min(
                    prefix + key, known.get(key, prefix + key), key=len)
    hint = nearest(name.rpartition('.')[2], known, known)
    if hint.startswith('known') and len(known) > 20:
        hint = 'if it is your own, name its module in custom_imports'
    return UserError(f'no {role} is registered as {name!r}: {hint}')


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
        raise _unregistered(match['role'], match['scope'],
                            match['name']) from error
    except TypeError as error:
        if 'cfg should be a dict' in str(error):
            raise UserError('a component in the config is not a dictionary '
                            f'({error}): write dict(type=...)') from error
        match = _WRONG_ARGUMENT.search(str(error))
        if match is None:
            raise
        if match['key']:
            raise unexpected_argument(match['owner'], match['key']) from error
        raise UserError(f'{match["owner"]} in the config is '
                        f'{match["problem"]}: set what is missing') from error


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
            unchanged, because they are not the config's fault, except a
            NotImplementedError.

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
        # A library raises NotImplementedError for a use that it does not have,
        # and some look only in the first step.
        if has_begun() and not isinstance(error, NotImplementedError):
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
