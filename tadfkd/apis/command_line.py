"""Functions that the command-line tools share."""
import argparse
import shlex
import sys
from collections.abc import Callable, Sequence

from mmengine.config import DictAction

from tadfkd.errors import UserError
from tadfkd.utils.library_errors import registry_errors_as_user_errors


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``: dotted keys and values as a dict, or None.

    Args:
        parser: The parser of a tool that reads a config.
    """
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change settings of the config, for example '
        'model.batch_size=64')


def resuming_command(arguments: Sequence[str]) -> str:
    """The command that resumes a run of ``tools/train.py``.

    Args:
        arguments: ``sys.argv`` of the run.
    """
    # The last --resume counts, if the run itself resumed from a checkpoint.
    more = [] if arguments[-1] == '--resume' else ['--resume']
    return shlex.join([sys.executable, *arguments, *more])


def run_tool(main: Callable[[], object]) -> None:
    """Run a tool. A :class:`UserError` ends it with one line on stderr."""
    try:
        with registry_errors_as_user_errors():
            main()
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(error.exit_code)
