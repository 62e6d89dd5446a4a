"""State dicts are unwrapped, and every key is renamed or refused."""
import pytest
import torch

from tadfkd.converters.source import (head_of, pooled_head, renamed,
                                      source_weights)
from tadfkd.errors import UserError

ONE = torch.ones(1)


@pytest.mark.parametrize('checkpoint', [
    dict(a=ONE),
    {
        'module.a': ONE
    },
    dict(state_dict=dict(a=ONE), epoch=1),
    dict(net={'module.a': ONE}, acc=0.9),
    dict(model=dict(state_dict=dict(a=ONE))),
])
def test_weights_are_found_where_public_code_puts_them(
        checkpoint: dict) -> None:
    assert source_weights(checkpoint, 'file') == dict(a=ONE)


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


@pytest.mark.parametrize('checkpoint, message', [
    (dict(a=ONE, epoch=3), 'file does not hold named tensors only'),
    ({}, 'file has no entry with weights'),
    (dict(state_dict={}), 'file has no entry with weights'),
])
def test_other_things_than_weights_are_refused(checkpoint: dict,
                                               message: str) -> None:
    with pytest.raises(UserError, match=message):
        source_weights(checkpoint, 'file')


def test_keys_that_no_rule_fits_are_shown() -> None:
    weights = {f'{name}.weight': ONE for name in 'abcde'}
    with pytest.raises(
            UserError,
            match='looks like a net, which has no b.weight, c.weight, '
            r'd.weight, \.\.\.:'):
        renamed(weights, {'a': 'a'}, 'net')


@pytest.mark.parametrize('weights, got', [
    ({
        'conv1.weight': ONE
    }, 'got 0'),
    ({
        'classifier.0.weight': ONE
    }, 'got 0'),
    ({
        'fc.weight': ONE
    }, 'got 0'),
    ({
        'fc.weight': ONE[None],
        'linear.weight': ONE[None]
    }, 'got 2'),
])
def test_exactly_one_linear_head_is_wanted(weights: dict, got: str) -> None:
    with pytest.raises(UserError, match=f'one linear classifier .* {got}'):
        head_of(weights)


def test_a_head_on_more_than_averages_is_refused() -> None:
    weights = {'fc.weight': torch.zeros(10, 2048)}
    assert pooled_head(weights, 2048) == ('fc', 10)
    with pytest.raises(UserError, match='512 averaged channels .* 2048 input'):
        pooled_head(weights, 512)
