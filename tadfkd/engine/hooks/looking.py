"""What only looks at a run does not end it."""
import functools
from collections.abc import Callable
from typing import Any

from mmengine.runner import Runner

from tadfkd.errors import UserError, reason_of


def never_ends_a_run(method: Callable[..., None]) -> Callable[..., None]:
    """Let a method of a hook warn where it would raise.

    An error of the disk is raised, because the run cannot save itself either.
    """

    @functools.wraps(method)
    def guarded(self: object, runner: Runner, *arguments: Any,
                **named: Any) -> None:
        try:
            method(self, runner, *arguments, **named)
        except (OSError, UserError):
            raise
        except Exception as error:
            # What a hook shows can be of any kind, and so can its errors.
            runner.logger.warning(
                f'{type(self).__name__} has shown nothing '
                f'({type(error).__name__}: {reason_of(error)}): the run goes '
                'on')

    return guarded
