"""Where the processes of one machine run."""
import os

import pytest

from tadfkd.engine.cores import keep_to_own_cores


@pytest.mark.parametrize(
    'cores, of_machine, num_processes, expected',
    [
        (8, 8, 2, {4, 5, 6, 7}),
        (7, 7, 2, {3, 4, 5, 6}),
        (8, 8, 1, set(range(8))),
        # Bound by Slurm, or by hand.
        (4, 8, 2, None),
        (2, 2, 3, None),
    ])
def test_each_process_has_its_share(monkeypatch: pytest.MonkeyPatch,
                                    cores: int, of_machine: int,
                                    num_processes: int,
                                    expected: set[int] | None) -> None:
    chosen: list[set[int]] = []
    # Not those of this process, which has other tests to run.
    monkeypatch.setattr(os, 'sched_getscheduler', lambda _: os.SCHED_IDLE)
    monkeypatch.setattr(os, 'cpu_count', lambda: of_machine)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: set(range(cores)))
    monkeypatch.setattr(os, 'sched_setaffinity',
                        lambda _, cores: chosen.append(set(cores)))
    keep_to_own_cores(min(1, num_processes - 1), num_processes)
    assert chosen == ([] if expected is None else [expected])


def test_what_is_not_allowed_is_left_alone(
        monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def refuse(*arguments: object) -> None:
        tried.append(arguments)
        raise PermissionError

    monkeypatch.setattr(os, 'sched_getscheduler', lambda _: os.SCHED_OTHER)
    monkeypatch.setattr(os, 'cpu_count', lambda: 2)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {0, 1})
    for name in ('sched_setscheduler', 'sched_setaffinity'):
        monkeypatch.setattr(os, name, refuse)
    keep_to_own_cores(1, 2)
    assert len(tried) == 2
    # Started by something that does not tell of how many it is.
    keep_to_own_cores(1, 1)
    assert len(tried) == 3
