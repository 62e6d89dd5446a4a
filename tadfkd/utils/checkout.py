"""Which version of the code has measured something."""
import subprocess


def checkout_commit() -> str:
    """The commit of the checkout in the current folder, and whether there
    are changes to it; empty outside of one."""
    return subprocess.run(['git', 'describe', '--always', '--dirty'],
                          capture_output=True,
                          text=True).stdout.strip()
