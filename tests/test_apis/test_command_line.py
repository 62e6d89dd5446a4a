"""What the tools share: how they end, and how a run is resumed."""
import shlex
import sys

import pytest

from tadfkd.apis.command_line import resuming_command, run_tool
from tadfkd.errors import UnhealthyRun, UserError


def test_the_newest_checkpoint_counts_whatever_the_run_began_with() -> None:
    command = resuming_command(
        ['tools/train.py', 'my config.py', '--resume', 'old.pth'])
    words = shlex.split(command)
    assert words == [
        sys.executable, 'tools/train.py', 'my config.py', '--resume',
        'old.pth', '--resume'
    ]
    # Once is enough, however often the run is stopped.
    assert resuming_command(words[1:]) == command


@pytest.mark.parametrize('error, code', [(UserError, 1), (UnhealthyRun, 3)])
def test_a_mistake_ends_a_tool_in_one_line_with_its_exit_code(
        capsys: pytest.CaptureFixture[str], error: type[UserError],
        code: int) -> None:

    def main() -> None:
        raise error('x must be 1, got 2: set x')

    with pytest.raises(SystemExit) as caught:
        run_tool(main)
    assert caught.value.code == code
    assert capsys.readouterr().err == 'error: x must be 1, got 2: set x\n'


def test_a_tool_shows_a_bug_with_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_tool(lambda: 1 / 0)
