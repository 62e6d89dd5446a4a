"""A run is made once, resumed if it was cut off, and says how it ended."""
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tadfkd.cli import main
from tadfkd.errors import Interrupted, UnhealthyRun, UserError
from tadfkd.sweeps import run_status
from tadfkd.sweeps.planning import PlannedRun
from tadfkd.sweeps.run_status import is_done, make_once, read_status

Plan = Callable[..., list[PlannedRun]]
HOLD = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print('locked', flush=True)
    sys.stdin.read()
"""


def test_a_run_is_made_once_and_its_command_line_resumes_it(
        plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'path', [*sys.path])
    [run] = plan()
    # A folder that nobody began, and a run that was killed.
    run.folder.mkdir(parents=True)
    assert read_status(run.folder)['state'] == 'waiting'
    main(run.words)
    status = read_status(run.folder)
    assert (status['state'], status['starts']) == ('finished', 1)
    assert is_done(run)
    killed = status | dict(state='running')
    (run.folder / 'status.json').write_text(json.dumps(killed))
    assert read_status(run.folder)['state'] == 'interrupted'
    assert not is_done(run)
    main(run.words)
    assert read_status(run.folder)['starts'] == 2
    # It began after the last epoch, which is not in the history twice.
    history = json.loads((run.folder / 'history.json').read_text())
    assert [each['epoch'] for each in history['epochs']] == [1, 2]
    files = {path: path.stat().st_mtime_ns for path in run.folder.rglob('*')}
    main(run.words)
    assert not [
        path for path, at in files.items()
        if path.stat().st_mtime_ns != at and path.name[0] != '.'
    ]


@pytest.mark.parametrize('error, state', [
    (UserError('no'), 'failed'),
    (UnhealthyRun('no'), 'unhealthy'),
    (Interrupted('no'), 'interrupted'),
    (ZeroDivisionError('no'), 'failed'),
])
def test_how_a_run_ends_is_written(plan: Plan, error: BaseException,
                                   state: str) -> None:
    [run] = plan()
    calls = 0

    def make(_: Any) -> NoReturn:
        nonlocal calls
        calls += 1
        assert read_status(run.folder)['state'] == 'running'
        raise error

    with pytest.raises(type(error)):
        make_once(run.folder, run.load, make)
    status = read_status(run.folder)
    assert (status['state'], status['reason']) == (state, 'no')
    # What failed is tried again. What was unhealthy would be so again.
    assert is_done(run) == (state == 'unhealthy')
    if state != 'unhealthy':
        make_once(run.folder, run.load, lambda _: None)
        assert read_status(run.folder)['state'] == 'finished'
    assert calls == 1


def test_results_of_other_settings_are_not_touched(plan: Plan) -> None:
    [run], [changed] = plan(), plan(**{'model.batch_size': 9})
    make_once(run.folder, run.load, lambda _:
              (run.folder / 'summary.json').write_text('{}'))
    assert is_done(run) and not is_done(changed)
    before = read_status(run.folder)
    with pytest.raises(UserError, match='has a run of other settings'):
        make_once(run.folder, changed.load, pytest.fail)
    assert read_status(run.folder) == before


def test_a_config_that_fails_is_a_status(plan: Plan) -> None:
    [run] = plan(**{'no_such.key': 1})
    with pytest.raises(UserError):
        make_once(run.folder, run.load, pytest.fail)
    status = read_status(run.folder)
    assert status['state'] == 'failed' and 'no_such.key' in status['reason']


def test_one_process_makes_a_run_and_a_killed_one_blocks_nobody(
        plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_status, '_PATIENCE', 0.1)
    [run] = plan()
    run.folder.mkdir(parents=True)
    with subprocess.Popen([sys.executable, '-c', HOLD, run.folder / '.lock'],
                          stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(UserError, match='another process makes the run'):
            make_once(run.folder, run.load, pytest.fail)
        holder.send_signal(signal.SIGKILL)
    make_once(run.folder, run.load, lambda _: None)
    assert read_status(run.folder)['state'] == 'finished'
