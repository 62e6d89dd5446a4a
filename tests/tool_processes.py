"""Running tools as a user does, without waiting for the same imports."""
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
PRELOADED = [
    'tadfkd.apis', 'tadfkd.benchmarks', 'mmengine.visualization',
    'mmpretrain.datasets', 'mmpretrain.evaluation', 'sklearn.datasets',
    'matplotlib.pyplot', 'torch._dynamo', 'torch.utils.tensorboard'
]


def run_python_tool(script: Path,
                    arguments: Sequence[str],
                    timeout: float = 300) -> subprocess.CompletedProcess:
    """Run a tool from the root of the repository, in a process of its own.

    That is the child of a process which has imported what tools import, and
    has done nothing else.
    """
    processes = multiprocessing.get_context('forkserver')
    processes.set_forkserver_preload(PRELOADED)
    with TemporaryDirectory() as folder:
        process = processes.Process(
            target=_be_the_tool,
            args=(str(script), arguments, dict(os.environ), folder))
        process.start()
        process.join(timeout)
        ended = process.exitcode is not None
        process.kill()
        process.join()
        stdout, stderr = (
            Path(folder, name).read_text() for name in ('stdout', 'stderr'))
    assert ended, f'no end after {timeout} s: {stdout}{stderr}'
    return subprocess.CompletedProcess([str(script), *arguments],
                                       process.exitcode, stdout, stderr)


def _be_the_tool(script: str, arguments: Sequence[str],
                 environment: dict[str, str], folder: str) -> None:
    for descriptor, name in ((1, 'stdout'), (2, 'stderr')):
        file = os.open(Path(folder, name), os.O_WRONLY | os.O_CREAT)
        os.dup2(file, descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).parent))
    runpy.run_path(script, run_name='__main__')
