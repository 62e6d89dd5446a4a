"""Killing a run again and again, to see that nothing of it is lost."""
import contextlib
import gc
import importlib
import os
import random
import runpy
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch

from benchmarks.run_end import differences, read_run_end
from tadfkd.errors import UserError

#: How a run saves, as options of its config: after each epoch, or after every
#: second iteration and thus within epochs too.
_SAVING = ((), ('--cfg-options', 'default_hooks.checkpoint.by_epoch=False',
                'default_hooks.checkpoint.interval=2'))
#: Events of Python before which a process dies: it opens a temporary file of
#: a checkpoint, renames it, renames last_checkpoint, removes what is outdated.
_MOMENTS = dict(
    write=('open', '.pth.'),
    rename=('os.rename', '.pth.'),
    name=('os.rename', 'last_checkpoint'),
    prune=('os.remove', '.pth'))


@dataclass(frozen=True)
class Kill:
    """When a process is to die.

    Attributes:
        moment: ``'time'``, or one of the writing of a checkpoint: ``'write'``
            within it, ``'rename'`` before the file gets its name, ``'name'``
            before ``last_checkpoint`` names it, ``'prune'`` before an
            earlier one is removed.
        count: Which of the process' checkpoints.
        delay: Seconds after that moment, or after the start.
    """

    moment: str
    count: int = 1
    delay: float = 0.0

    def __str__(self) -> str:
        after = f' + {1e3 * self.delay:.1f} ms' if self.delay else ''
        return f'{self.moment} {self.count}{after}'


class CrashTest:
    """Runs ``tools/train.py`` in processes that it kills.

    They are forked from this one, which has imported all that the first of
    them needed, so that many kills take minutes; everything else is as from
    the command line, and their end is a SIGKILL.

    Args:
        tool: Path of ``tools/train.py``.
        arguments: Of the tool, without work directory and ``--resume``.
        folder: An empty one, for the runs.
        seed: Of the moments.

    Raises:
        UserError: If there is a GPU that forked processes could not use.
    """

    def __init__(self, tool: Path, arguments: Sequence[str], folder: Path,
                 seed: int) -> None:
        self.tool = tool
        self.arguments = [*arguments]
        self.folder = folder
        self.random = random.Random(seed)
        # Processes are forked, which further threads do not survive, nor
        # does CUDA, which mmengine has asked for when it was imported.
        torch.set_num_threads(1)
        name = 'PYTORCH_NVML_BASED_CUDA_CHECK'
        if torch.cuda.is_available() and os.environ.get(name) != '1':
            raise UserError('processes that are forked can use a GPU only if '
                            f'it was asked for in another way: set {name}=1 '
                            'in the environment')

    def run(self, num_kills: int, kills_per_run: int = 5) -> dict[str, Any]:
        """Kill so often, and compare each run that came to its end.

        Args:
            num_kills: Of all runs together, >= 1.
            kills_per_run: After so many a run may finish.

        Returns:
            A record of plain values: each run with its kills, and the places
            in which its end differs from that of a run that was left alone.
        """
        ends = []
        for index, saving in enumerate(_SAVING):
            start = time.monotonic()
            work_dir = self.folder / f'whole_{index}'
            assert self._finishes(work_dir, saving, None)
            # Of the second one, which need not import.
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
        """One run from its start to its end, killed on the way.

        Args:
            work_dir: Of the run.
            saving: How it saves.
            seconds: That a run takes.
            num_before: Kills of the runs before.
            num_kills: After so many it may finish.

        Returns:
            The kills, and how many halves of checkpoints each left behind.
        """
        kills: list[tuple[Kill, int]] = []
        while len(kills) < num_kills:
            # In turn, so that none is left out.
            moments = ('time', *_MOMENTS)
            moment = moments[(num_before + len(kills)) % len(moments)]
            kill = self._draw(moment, seconds)
            if self._finishes(work_dir, saving, kill):
                if kills:
                    return kills
                # It was done before its moment came.
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
        """Start or resume a run; whether it came to its end."""
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
        """What the forked process does, to its end."""
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


def _import_all(names: Sequence[str]) -> None:
    """Import what a forked process had to, so that the next ones need not."""
    for name in names:
        if name not in sys.modules:
            # Some are made by others and cannot be imported.
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    # No collection of a forked process looks at all that, and copies it.
    gc.collect()
    gc.freeze()


def _killer(kill: Kill) -> Callable[[str, tuple], None]:
    """An audit hook that kills its process."""
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
