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


def test_many_tensors_of_one_storage_are_refused() -> None:
    # One tensor under many names, or views of one number.
    whole = torch.ones(2**20).half()
    for values in ([whole] * 400, [whole[:1].expand(2**20)] * 400):
        weights = {f'{i}': value for i, value in enumerate(values)}
        with pytest.raises(UserError, match='file has 838860800 bytes of wei'):
            source_weights(weights, 'file')
    tied = dict(a=whole, b=whole, c=whole.view(2**10, 2**10))
    assert source_weights(tied, 'file').keys() == tied.keys()


def test_a_head_on_more_than_averages_is_refused() -> None:
    weights = {'fc.weight': torch.zeros(10, 2048)}
    assert pooled_head(weights, 2048) == ('fc', 10)
    with pytest.raises(UserError, match='512 averaged channels .* 2048 input'):
        pooled_head(weights, 512)
