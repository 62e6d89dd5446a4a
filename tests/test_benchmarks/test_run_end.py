"""The ends of two runs are compared bit by bit."""
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from benchmarks.run_end import differences, read_run_end


@pytest.mark.parametrize(('one', 'other'), [
    (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0 + 2**-22])),
    (torch.tensor([0.0]), torch.tensor([-0.0])),
    (torch.tensor([1.0]), torch.tensor([[1.0]])),
    (torch.tensor([1.0]), torch.tensor([1.0]).double()),
    (torch.tensor(1.0), 1.0),
    (np.arange(3), np.arange(1, 4)),
    (HistoryBuffer([1.0], [1]), HistoryBuffer([1.0, 1.0], [1, 1])),
    ([1, 2], [1, 2, 3]),
    (None, 0.0),
    ('a', 'b'),
])
def test_what_differs_is_found_where_it_is(one: object, other: object) -> None:
    expected = dict(a=dict(b=[0, one]), c=1)
    found = dict(a=dict(b=[0, other]), c=1)
    places = differences(expected, found)
    assert places and all(place.startswith('/a/b/1') for place in places)
    assert differences(expected, expected) == []
    assert differences(expected, dict(c=1, d=2)) == ['/a', '/d']


def test_the_same_bits_are_the_same_also_if_they_are_no_number() -> None:
    values = torch.tensor([float('nan')]).bfloat16()
    end = dict(value=float('nan'), values=values, empty=torch.zeros(0, 3))
    assert differences(end, dict(end, values=values.clone())) == []


def write_log(work_dir: Path, name: str, *rows: dict, torn: str = '') -> None:
    """As a process of a run leaves it."""
    path = work_dir / name / 'vis_data/scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows) + torn)


def row(iteration: int, loss: float, time: float) -> dict:
    """Of the log."""
    return dict(
        loss=loss, time=time, data_time=time, iter=iteration, step=iteration)


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    """With a checkpoint."""
    torch.save(
        dict(meta={}, state_dict={}, message_hub=dict(log_scalars={})),
        tmp_path / 'epoch_1.pth')
    return tmp_path


def test_what_a_resumed_run_did_again_is_one_figure(work_dir: Path) -> None:
    write_log(work_dir, '1', row(1, 0.5, 9.0), row(2, 0.25, 9.0), torn='{"l')
    write_log(work_dir, '2', row(2, 0.25, 7.0), row(3, 0.125, 7.0))
    log = read_run_end(work_dir)['log']
    assert [*log.values()] == [
        dict(loss=loss, iter=step, step=step)
        for step, loss in ((1, 0.5), (2, 0.25), (3, 0.125))
    ]


def test_unless_it_did_it_otherwise(work_dir: Path) -> None:
    write_log(work_dir, '1', row(1, 0.5, 9.0))
    write_log(work_dir, '2', row(1, 0.25, 9.0))
    with pytest.raises(ValueError, match='two logs of 1/1'):
        read_run_end(work_dir)
