"""Errors that are a user's mistake, and checks of numbers and choices."""
import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any

#: Characters of a printed text; of a longer one, both ends are printed.
_LONGEST = 4000


def printable(text: str) -> str:
    """A text that cannot change a terminal, such as one from a file.

    Line breaks, control characters and invisible characters are escaped, and
    the middle of a very long text is left out.

    Example:
        >>> printable('weight\\x1b[2J')
        'weight\\\\x1b[2J'
    """
    if len(text) > _LONGEST:
        half = _LONGEST // 2
        text = f'{text[:half]} ... {text[-half:]}'
    return ''.join(char if char.isprintable() else ascii(char)[1:-1]
                   for char in text)


class UserError(ValueError):
    """A mistake in a config, an argument or a file that the user can correct.

    The message is one sentence: what was given, what is allowed and what to
    change. Tools print it without a traceback and exit with ``exit_code``.
    What it quotes from files is :func:`printable`.
    """

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class UnhealthyRun(UserError):
    """A run that cannot succeed any more.

    The message says why, and from which checkpoint another run can start.
    """

    exit_code = 3


#: Exit code of a process whose run was told to stop and has been saved. It is
#: EX_TEMPFAIL of sysexits.h. No shell gives this code to a killed process.
INTERRUPTED = 75


class Interrupted(SystemExit):
    """A run was told to stop, has been saved, and can be resumed.

    If nothing catches it, the process exits with :data:`INTERRUPTED`.

    Attributes:
        message: What stopped the run, and where its checkpoint is.
    """

    def __init__(self, message: str) -> None:
        super().__init__(INTERRUPTED)
        self.message = message

    def __str__(self) -> str:
        return self.message


def nearest(name: str,
            allowed: Iterable[str],
            words: Mapping[str, str] | None = None) -> str:
    """A clause that proposes the allowed name most similar to ``name``.

    Without a similar name, the clause lists those that are allowed. It never
    proposes ``name`` itself, which has just been refused.

    Args:
        name: What the user gave.
        allowed: All names that are allowed.
        words: What the clause says for each of them; None for the names.
    """
    shown = {key: words[key] if words else key for key in sorted(allowed)}
    shown = {key: word for key, word in shown.items() if word != name}
    lower = {key.lower(): word for key, word in shown.items()}
    for match in difflib.get_close_matches(name.lower(), lower, 1):
        return f'did you mean {lower[match]!r}?'
    more = f' and {len(shown) - 20} more' if len(shown) > 20 else ''
    return f'known are {", ".join([*shown.values()][:20])}{more}'


def require_at_least(where: str, name: str, value: Any,
                     minimum: float) -> None:
    """Refuse a value that is not a finite number >= ``minimum``.

    Args:
        where: The config path of the field's owner, for example ``model``.
        name: The field.
        value: What the user gave.
        minimum: The smallest allowed value. If it is an ``int``, the value
            must be an ``int`` too.

    Raises:
        UserError: If ``value`` is not a finite number or is too small.
    """
    kind = int if isinstance(minimum, int) else (int, float)
    is_number = isinstance(value, kind) and not isinstance(value, bool)
    if not is_number or not minimum <= value < math.inf:
        a_number = 'a whole number' if kind is int else 'a number'
        raise UserError(f'{name} must be {a_number} >= {minimum}, got '
                        f'{value!r}: set {where}.{name}')


def require_share(where: str, name: str, value: float) -> None:
    """Refuse a number outside of [0, 1].

    Args:
        where: The config path of the part, such as ``model.selector``.
        name: The argument.
        value: What was given.

    Raises:
        UserError: If the number is outside.
    """
    if not 0 <= value <= 1:
        raise UserError(f'{name} must be in [0, 1], got {value!r}: set '
                        f'{where}.{name}')


def require_choice(where: str, name: str, value: object,
                   allowed: Iterable[object]) -> None:
    """Refuse a value that is not one of those allowed.

    The config check refuses a wrong choice by the annotation already. Use
    this function only where a constructor is also called directly, and a
    wrong choice would pass there without an error.

    Args:
        where: The config path of the field's owner, for example ``model``.
        name: The field.
        value: What the user gave.
        allowed: All values that are allowed.

    Raises:
        UserError: If ``value`` is not among ``allowed``.
    """
    allowed = list(allowed)
    if value not in allowed:
        raise UserError(f'{name} must be {" or ".join(map(repr, allowed))}, '
                        f'got {value!r}: set {where}.{name}')


def size_pair(where: str, name: str, value: object) -> tuple[int, int]:
    """Height and width from a value that is one whole number or two.

    Args:
        where: The config path of the field's owner, for example ``model``.
        name: The field.
        value: One number >= 1 for both, or a pair.

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


def reason_of(error: BaseException) -> str:
    """The first line of an exception's message, or its type if it has none."""
    return str(error).strip().partition('\n')[0] or type(error).__name__
