"""The ends of two runs are compared bit by bit."""
import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from benchmarks.run_end import differences


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
