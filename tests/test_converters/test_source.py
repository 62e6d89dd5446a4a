"""Weights of public code are made float32, and odd ones are refused."""
import pytest
import torch

from tadfkd.converters.source import pooled_head, source_weights
from tadfkd.errors import UserError

ONE = torch.ones(1)


def test_floats_become_float32_and_counters_stay() -> None:
    found = source_weights(
        dict(a=ONE.half(), b=ONE.double(), c=ONE.long()), 'file')
    assert [value.dtype for value in found.values()
            ] == [torch.float32, torch.float32, torch.int64]


def test_a_head_on_more_than_averages_is_refused() -> None:
    weights = {'fc.weight': torch.zeros(10, 2048)}
    assert pooled_head(weights, 2048) == ('fc', 10)
    with pytest.raises(UserError, match='512 averaged channels .* 2048 input'):
        pooled_head(weights, 512)
