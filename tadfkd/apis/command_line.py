"""What the command-line tools share."""
import argparse
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence

from mmengine.config import DictAction

from tadfkd.errors import UserError
from tadfkd.utils.library_errors import registry_errors_as_user_errors


def add_cfg_options(
    parser: argparse.ArgumentParser,
    help: str = 'change settings of the config, for example '
    'model.batch_size=64'
) -> None:
    """Add ``--cfg-options``: dotted keys and values as a dict, or None.

    Args:
        parser: Of a tool that reads a config.
        help: What they change.
    """
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help=help)


def typed_command(arguments: Sequence[str]) -> str:
    """What a user typed to run a tool, for a record.

    Args:
        arguments: ``sys.argv`` of the tool.
    """
    return shlex.join(['python', *arguments])


def resuming_command(arguments: Sequence[str]) -> str:
    """What a user types to go on with a run of ``tools/train.py``.

    Args:
        arguments: ``sys.argv`` of the run.
    """
    # The last one counts: the run may have begun from a named checkpoint.
    more = [] if arguments[-1] == '--resume' else ['--resume']
    return shlex.join([sys.executable, *arguments, *more])


def checkout_commit() -> str:
    """The commit of the checkout in the current folder, and whether there
    are changes to it; empty outside of one."""
    return subprocess.run(['git', 'describe', '--always', '--dirty'],
                          capture_output=True,
                          text=True).stdout.strip()


def run_tool(main: Callable[[], object]) -> None:
    """Run a command-line tool; a :class:`UserError` ends it in one line."""
    try:
        with registry_errors_as_user_errors():
            main()
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(error.exit_code)
