"""What a user types to go on with a run."""
import shlex
import sys

from tadfkd.apis.command_line import resuming_command


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
