"""Running tools as a user does, without repeating the same imports."""
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
PRELOADED = [
    'tadfkd.apis', 'mmengine.visualization', 'mmpretrain.datasets',
    'mmpretrain.engine', 'mmpretrain.evaluation', 'mmpretrain.models',
    'mmpretrain.visualization', 'sklearn.datasets', 'sklearn.model_selection',
    'matplotlib.pyplot', 'torch._dynamo'
]


def run_forked(script: Path,
               arguments: Sequence[str],
               timeout: float = 300,
               cwd: Path = ROOT) -> subprocess.CompletedProcess:
    """Run a Python tool in a new process.

    The process is a fork of a server that has imported what tools import.
    So a missing import does not show, the hash seed is always the same, and
    the interpreter does not shut down as usual.
    """
    with TemporaryDirectory() as folder:
        outputs = [Path(folder, name) for name in ('stdout', 'stderr')]
        process = start_forked(script, arguments, dict(os.environ), outputs,
                               cwd)
        process.join(timeout)
        timed_out = process.exitcode is None
        if timed_out:
            # The group includes the processes that the tool has started.
            os.killpg(process.pid, signal.SIGKILL)
            process.join()
        stdout, stderr = (output.read_text() for output in outputs)
    command = [str(script), *arguments]
    if timed_out:
        raise subprocess.TimeoutExpired(command, timeout, stdout, stderr)
    return subprocess.CompletedProcess(command, process.exitcode, stdout,
                                       stderr)


def start_forked(script: Path,
                 arguments: Sequence[str],
                 environment: dict[str, str],
                 outputs: list[Path],
                 cwd: Path = ROOT) -> multiprocessing.Process:
    """Start a tool as :func:`run_forked` does, in a process group of its own.

    Args:
        script: Path of the tool.
        arguments: Of its command line.
        environment: All variables of the process.
        outputs: Files for stdout and stderr.
        cwd: The working directory.
    """
    processes = multiprocessing.get_context('forkserver')
    processes.set_forkserver_preload(PRELOADED)
    for output in outputs:
        output.touch()
    process = processes.Process(
        target=_be_the_tool,
        args=(str(script), arguments, environment, outputs, cwd))
    process.start()
    return process


def _be_the_tool(script: str, arguments: Sequence[str], environment: dict[str,
                                                                          str],
                 outputs: list[Path], cwd: Path) -> None:
    os.setsid()
    for descriptor, path in zip((1, 2), outputs):
        os.dup2(os.open(path, os.O_WRONLY), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = [script, *arguments]
    # python puts the script's folder first. The tests' folders are ours.
    tests = str(ROOT / 'tests')
    sys.path[:] = [str(Path(script).parent)] + [
        path for path in sys.path if not path.startswith(tests)
    ]
    multiprocessing.set_start_method(None, force=True)
    runpy.run_path(script, run_name='__main__')
