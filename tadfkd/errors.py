"""One class for a user's mistake, and how a tool reports it."""
import difflib
import inspect
import math
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import mmengine.registry


class UserError(ValueError):
    """A mistake in a config, an argument or a file that the user can mend.

    The message is one sentence: what was got, what is allowed, what to
    change. Tools print it without a traceback and exit with ``exit_code``.
    """

    exit_code = 1


class UnhealthyRun(UserError):
    """A run that cannot come to anything; the message says why, and from
    which checkpoint another can go on."""

    exit_code = 3


#: With this code a process ends whose run was told to stop and is saved. It
#: is the system's "try again", and none that a shell gives to a killed one.
INTERRUPTED = 75


class Interrupted(SystemExit):
    """A run was told to stop, has been saved, and can be resumed.

    Left alone it ends the process with the code :data:`INTERRUPTED`.

    Attributes:
        message: What stopped it, and where it is.
    """

    def __init__(self, message: str) -> None:
        super().__init__(INTERRUPTED)
        self.message = message

    def __str__(self) -> str:
        return self.message


def nearest(name: str, allowed: Iterable[str]) -> str:
    """A clause that names the allowed name nearest to ``name``."""
    allowed = sorted(allowed)
    matches = difflib.get_close_matches(name, allowed, n=1, cutoff=0.5)
    if not matches:
        lower = {known.lower(): known for known in allowed}
        matches = [
            lower[match] for match in difflib.get_close_matches(
                name.lower(), lower, n=1, cutoff=0.5)
        ]
    if matches:
        return f'did you mean {matches[0]!r}?'
    more = f' and {len(allowed) - 20} more' if len(allowed) > 20 else ''
    return f'known are {", ".join(allowed[:20])}{more}'


def require_at_least(where: str, name: str, value: float,
                     minimum: float) -> None:
    """Refuse a number below ``minimum`` (or one that is not a number).

    Args:
        where: The config path of the field's owner, for example ``model``.
        name: The field.
        value: What the user gave.
        minimum: The smallest allowed value; a whole ``minimum`` of type
            ``int`` also requires a whole ``value``.

    Raises:
        UserError: If ``value`` is not a number or too small.
    """
    kind = int if isinstance(minimum, int) else (int, float)
    is_number = isinstance(value, kind) and not isinstance(value, bool)
    if not is_number or not minimum <= value < math.inf:
        a_number = 'a whole number' if kind is int else 'a number'
        raise UserError(f'{name} must be {a_number} >= {minimum}, got '
                        f'{value!r}: set {where}.{name}')


def size_pair(where: str, name: str, value: object) -> tuple[int, int]:
    """Height and width, of one whole number for both or of two.

    Raises:
        UserError: If ``value`` is neither.
    """
    sizes = (value, value) if isinstance(value, int) else value
    if not isinstance(sizes, list | tuple) or len(sizes) != 2 or not all(
            isinstance(size, int) and not isinstance(size, bool) and size > 0
            for size in sizes):
        raise UserError(f'{name} must be one or two whole numbers >= 1, got '
                        f'{value!r}: set {where}.{name}')
    return sizes[0], sizes[1]


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


def reason_of(error: BaseException) -> str:
    """The first line of what an exception says, or its kind."""
    return str(error).strip().partition('\n')[0] or type(error).__name__


def run_tool(main: Callable[[], object]) -> None:
    """Run a command-line tool; a :class:`UserError` ends it in one line."""
    try:
        with registry_errors_as_user_errors():
            main()
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(error.exit_code)
