"""Kill a run many times and check that a resumed run ends the same."""
import contextlib
import gc
import importlib
import os
import random
import runpy
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch

from benchmarks.records import write_record
from benchmarks.run_end import differences, read_run_end
from tadfkd.errors import UserError

#: Options of the config that say when a run saves: after each epoch, or after
#: every second iteration, which is also within epochs.
_SAVING = ((), ('--cfg-options', 'default_hooks.checkpoint.by_epoch=False',
                'default_hooks.checkpoint.interval=2'))
#: The audit event of Python at which a process dies, and a part of the file's
#: name: the process opens a temporary file of a checkpoint, renames the file,
#: renames last_checkpoint, or removes an outdated checkpoint.
_MOMENTS = dict(
    write=('open', '.pth.'),
    rename=('os.rename', '.pth.'),
    name=('os.rename', 'last_checkpoint'),
    prune=('os.remove', '.pth'))


@dataclass(frozen=True)
class Kill:
    """When a process dies.

    Attributes:
        moment: ``'time'`` is any time. The others are moments at which a
            checkpoint is saved: ``'write'`` is while the file is written,
            ``'rename'`` before the file gets its name, ``'name'`` before
            ``last_checkpoint`` names the file, and ``'prune'`` before an
            earlier checkpoint is removed.
        count: The number of the checkpoint in this process, from 1.
        delay: Seconds after the moment, or after the start for ``'time'``.
    """

    moment: str
    count: int = 1
    delay: float = 0.0

    def __str__(self) -> str:
        after = f' + {1e3 * self.delay:.1f} ms' if self.delay else ''
        return f'{self.moment} {self.count}{after}'


class CrashTest:
    """Runs ``tools/train.py`` in processes and kills them with SIGKILL.

    This process imports all modules that the first run needed and forks the
    next runs, so a kill costs seconds. Everything else is the same as from
    the command line.

    Args:
        tool: Path of ``tools/train.py``.
        arguments: Arguments of the tool, without ``--work-dir`` and
            ``--resume``.
        folder: An empty folder for the runs.
        seed: Seed of the moments.

    Raises:
        UserError: If there is a GPU that forked processes cannot use.
    """

    def __init__(self, tool: Path, arguments: Sequence[str], folder: Path,
                 seed: int) -> None:
        self.tool = tool
        self.arguments = [*arguments]
        self.folder = folder
        self.random = random.Random(seed)
        # Other threads do not exist in a forked process. CUDA cannot be used
        # in a forked process if this process has initialised it, which
        # mmengine does at import unless the variable below is set.
        torch.set_num_threads(1)
        name = 'PYTORCH_NVML_BASED_CUDA_CHECK'
        if torch.cuda.is_available() and os.environ.get(name) != '1':
            raise UserError('forked processes cannot use the GPU, because '
                            f'CUDA is initialised already: set {name}=1 in '
                            'the environment')

    def run(self, num_kills: int, kills_per_run: int = 5) -> dict[str, Any]:
        """Kill runs and compare the end of each with an undisturbed run.

        Args:
            num_kills: Number of kills in all runs together, >= 1.
            kills_per_run: After this many kills a run may finish.

        Returns:
            A record of plain values: for each run its kills, and where its
            end differs from the end of the undisturbed run.
        """
        ends = []
        for index, saving in enumerate(_SAVING):
            start = time.monotonic()
            work_dir = self.folder / f'whole_{index}'
            assert self._finishes(work_dir, saving, None)
            # The seconds of the second run remain, which need not import.
            seconds = time.monotonic() - start
            _import_all((work_dir / 'modules.txt').read_text().split())
            ends.append(read_run_end(work_dir))

        runs: list[dict[str, Any]] = []
        done: list[tuple[Kill, int]] = []
        while len(done) < num_kills:
            mode = len(runs) % len(_SAVING)
            work_dir = self.folder / f'run_{len(runs)}'
            kills = self._crash(work_dir, _SAVING[mode], seconds, len(done),
                                min(num_kills - len(done), kills_per_run))
            done.extend(kills)
            runs.append(
                dict(
                    saving=('each epoch', 'every second iteration')[mode],
                    kills=[str(kill) for kill, _ in kills],
                    differences=differences(ends[mode],
                                            read_run_end(work_dir))))
        return dict(
            kills=len(done),
            moments=dict(Counter(kill.moment for kill, _ in done)),
            half_written=sum(halves for _, halves in done),
            runs=len(runs),
            runs_that_differ=sum(bool(run['differences']) for run in runs),
            each=runs)

    def _crash(self, work_dir: Path, saving: Sequence[str], seconds: float,
               num_before: int, num_kills: int) -> list[tuple[Kill, int]]:
        """Kill and resume one run until it finishes.

        Args:
            work_dir: Work directory of the run.
            saving: One of ``_SAVING``.
            seconds: Duration of an undisturbed run.
            num_before: Number of kills in earlier runs.
            num_kills: After this many kills the run may finish.

        Returns:
            The kills, each with the number of half-written checkpoints that
            it left behind.
        """
        kills: list[tuple[Kill, int]] = []
        while len(kills) < num_kills:
            # Each moment in turn, so that none is missing.
            moments = ('time', *_MOMENTS)
            moment = moments[(num_before + len(kills)) % len(moments)]
            kill = self._draw(moment, seconds)
            if self._finishes(work_dir, saving, kill):
                if kills:
                    return kills
                # The run finished before the moment came.
                shutil.rmtree(work_dir)
                continue
            kills.append((kill, len([*work_dir.glob('.*.pth.*')])))
        assert self._finishes(work_dir, saving, None)
        return kills

    def _draw(self, moment: str, seconds: float) -> Kill:
        if moment == 'time':
            return Kill(moment, delay=self.random.uniform(0, seconds))
        delay = self.random.uniform(0, 4e-3) if moment == 'write' else 0.0
        return Kill(moment, self.random.randint(1, 3), delay)

    def _finishes(self, work_dir: Path, saving: Sequence[str],
                  kill: Kill | None) -> bool:
        """Start or resume a run. Returns whether it finished."""
        work_dir.mkdir(parents=True, exist_ok=True)
        process = os.fork()
        if process == 0:
            self._be_the_tool(work_dir, saving, kill)
        if kill is not None and kill.moment == 'time':
            time.sleep(kill.delay)
            os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            return False
        if status:
            raise RuntimeError(f'a run ended with status {status}: see '
                               f'{work_dir / "output.txt"}')
        return True

    def _be_the_tool(self, work_dir: Path, saving: Sequence[str],
                     kill: Kill | None) -> NoReturn:
        """The whole life of the forked process."""
        code = 1
        try:
            with open(work_dir / 'output.txt', 'a') as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            sys.argv = [
                str(self.tool), *self.arguments, *saving, '--work-dir',
                str(work_dir), '--resume'
            ]
            if kill is not None and kill.moment != 'time':
                sys.addaudithook(_killer(kill))
            runpy.run_path(str(self.tool), run_name='__main__')
            (work_dir / 'modules.txt').write_text('\n'.join(sys.modules))
            code = 0
        except SystemExit as end:
            print(end)
        finally:
            sys.stdout.flush()
            os._exit(code)
        raise AssertionError


def crash_test(tool: Path, config: str, options: Sequence[str], num_kills: int,
               seed: int, folder: str | None, record: str | None) -> None:
    """Make a :class:`CrashTest`, print its result and write its record.

    Args:
        tool: Path of ``tools/train.py``.
        config: Path of a config.
        options: Other arguments of the tool.
        num_kills: Number of kills, >= 1.
        seed: Seed of the moments.
        folder: Where the runs stay. None removes them.
        record: JSON file, or None.
    """
    with tempfile.TemporaryDirectory() as temporary:
        test = CrashTest(tool, [config, *options],
                         Path(folder or temporary).resolve(), seed)
        results = test.run(num_kills)
    if record is not None:
        write_record(record, results)
    print(f'{results["kills"]} kills ({results["moments"]}), '
          f'{results["half_written"]} of them left a half-written '
          f'checkpoint; {results["runs_that_differ"]} of {results["runs"]} '
          'runs ended differently from the undisturbed run')


def _import_all(names: Sequence[str]) -> None:
    """Import what a forked process imported, so that the next need not."""
    for name in names:
        if name not in sys.modules:
            # Some entries of sys.modules cannot be imported by name.
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    # Else garbage collection in a forked process copies the memory pages.
    gc.collect()
    gc.freeze()


def _killer(kill: Kill) -> Callable[[str, tuple], None]:
    """An audit hook that kills its own process."""
    event, part = _MOMENTS[kill.moment]
    seen = 0

    def die() -> None:
        time.sleep(kill.delay)
        os.kill(os.getpid(), signal.SIGKILL)

    def hook(name: str, arguments: tuple) -> None:
        nonlocal seen
        if name != event or part not in str(arguments[0]):
            return
        if event == 'open' and 'w' not in str(arguments[1]):
            return
        seen += 1
        if seen != kill.count:
            return
        if kill.delay:
            threading.Thread(target=die).start()
        else:
            die()

    return hook
