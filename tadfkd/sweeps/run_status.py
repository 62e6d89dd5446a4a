"""How a run has ended, and that one process at a time makes it."""
import json
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from tadfkd.errors import Interrupted, UnhealthyRun, UserError, reason_of
from tadfkd.sweeps.planning import PlannedRun, fingerprint
from tadfkd.utils.files import write_json

if TYPE_CHECKING:
    from mmengine.config import Config

#: Runs in these states would end the same if they were made again.
ENDED = ('finished', 'unhealthy')
#: Seconds after which workers of a killed process have noticed its death.
_PATIENCE = 10.0


def read_status(folder: Path) -> dict[str, Any]:
    """What is known of a run.

    Args:
        folder: Its work directory, which need not exist.

    Returns:
        ``state``: ``'waiting'``, ``'running'``, ``'finished'``,
        ``'unhealthy'`` (a health check ended it), ``'failed'`` or
        ``'interrupted'``; ``reason``, a sentence or an empty string; and what
        else ``status.json`` has. A run that was killed is interrupted.
    """
    try:
        status = json.loads((folder / 'status.json').read_text())
    except FileNotFoundError:
        summary = read_summary(folder)
        ended = 'finished' if summary.get('finished') else 'interrupted'
        return dict(state=ended if summary else 'waiting', reason='')
    if status['state'] == 'running':
        try:
            with _claimed(folder, patience=0):
                status |= dict(state='interrupted', reason='it was killed')
        except Timeout:
            pass
    return status


def read_summary(folder: Path) -> dict[str, Any]:
    """The content of ``summary.json``, empty if there is none."""
    path = folder / 'summary.json'
    return json.loads(path.read_text()) if path.is_file() else {}


def is_done(run: PlannedRun) -> bool:
    """Whether a run has ended with the settings that are planned now."""
    status = read_status(run.folder)
    if status['state'] not in ENDED:
        return False
    try:
        return status.get('settings') == _settings(run.load())
    except UserError:
        # The run itself says why.
        return False


def make_once(folder: Path, load: Callable[[], 'Config'],
              make: Callable[['Config'], object]) -> None:
    """Make a run unless it has ended, and record how it ends.

    Args:
        folder: The work directory. ``status.json`` in it is written.
        load: Returns the config of the run.
        make: Makes the run, or resumes it.

    Raises:
        UserError: If another process makes the run now, or if the folder has
            results of other settings. Those are not touched.
    """
    try:
        with _claimed(folder, _PATIENCE):
            _make(folder, load, make)
    except Timeout as error:
        raise UserError(f'another process makes the run in {folder} now: wait '
                        'for it, or name another folder') from error


def _make(folder: Path, load: Callable[[], 'Config'],
          make: Callable[['Config'], object]) -> None:
    # The folder is claimed, so a run that seems to be running was killed.
    path = folder / 'status.json'
    status = json.loads(path.read_text()) if path.is_file() else {}

    def write(state: str, error: BaseException | None = None) -> None:
        reason = reason_of(error) if error else ''
        write_json(path, status | dict(state=state, reason=reason))

    has_ended = status.get('state') in ENDED
    try:
        config = load()
        settings = _settings(config)
        has_results = any((folder / name).exists()
                          for name in ('summary.json', 'last_checkpoint'))
        if has_results and status.get('settings') != settings:
            raise UserError(f'{folder} has a run of other settings: remove '
                            'this folder, or name another one')
        if has_ended:
            print(f'{folder} has ended already: {status["state"]}')
            return
        status |= dict(
            settings=settings,
            starts=status.get('starts', 0) + 1,
            process=f'{os.getpid()} on {platform.node()}')
        write('running')
        make(config)
    except (Interrupted, KeyboardInterrupt) as error:
        write('interrupted', error)
        raise
    except UnhealthyRun as error:
        write('unhealthy', error)
        raise
    except BaseException as error:
        if not has_ended:
            write('failed', error)
        raise
    write('finished')


def _settings(config: 'Config') -> str:
    seed = (config.get('randomness') or {}).get('seed')
    return f'{fingerprint(config)} seed {seed}'


@contextmanager
def _claimed(folder: Path, patience: float) -> Iterator[None]:
    """Hold the lock of a folder, which the system frees if a process dies.

    Raises:
        Timeout: If another process has it for longer than the patience.
        UserError: If the file system has no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / '.lock').acquire(patience)
    except NotImplementedError as error:
        raise UserError(f'the file system of {folder} has no locks, which keep'
                        ' two processes apart: name a folder on another '
                        'one') from error
    with lock:
        yield
