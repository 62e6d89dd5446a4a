"""State dicts: unwrapped, and every key accounted for."""
import pytest
import torch

from tadfkd.converters.source import (count_blocks, head_of, pooled_head,
                                      renamed, source_weights)
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


def test_a_prefix_that_only_some_keys_have_is_a_name() -> None:
    weights = {'module.a': ONE, 'b': ONE}
    assert source_weights(weights, 'file') == weights


def test_floats_become_float32_and_counters_stay() -> None:
    found = source_weights(
        dict(a=ONE.half(), b=ONE.double(), c=ONE.long()), 'file')
    assert [value.dtype for value in found.values()
            ] == [torch.float32, torch.float32, torch.int64]


def test_names_that_share_their_numbers_are_not_converted() -> None:
    # As a file may have it: one tensor under many names, or views of one.
    whole = torch.ones(2**20).half()
    for values in ([whole] * 400, [whole[:1].expand(2**20)] * 400):
        weights = {f'{i}': value for i, value in enumerate(values)}
        with pytest.raises(UserError, match='file has 838860800 bytes of wei'):
            source_weights(weights, 'file')
    tied = dict(a=whole, b=whole, c=whole.view(2**10, 2**10))
    assert source_weights(tied, 'file').keys() == tied.keys()


@pytest.mark.parametrize('checkpoint, message', [
    (dict(a=ONE, epoch=3), 'file does not hold named tensors only'),
    ({}, 'file holds no weights'),
    (dict(state_dict={}), 'file holds no weights'),
])
def test_other_things_than_weights_are_refused(checkpoint: dict,
                                               message: str) -> None:
    with pytest.raises(UserError, match=message):
        source_weights(checkpoint, 'file')


def test_keys_are_renamed_by_the_first_rule_that_fits() -> None:
    weights = {'a.1.weight': ONE, 'b.bias': 2 * ONE}
    found = renamed(weights, {r'a\.(\d)': r'new.\1', '.*': 'rest'}, 'net')
    assert found == {'new.1.weight': ONE, 'rest.bias': 2 * ONE}


def test_keys_that_no_rule_fits_are_shown() -> None:
    weights = {f'{name}.weight': ONE for name in 'abcde'}
    with pytest.raises(
            UserError,
            match='looks like a net, which has no b.weight, c.weight, '
            r'd.weight, \.\.\.:'):
        renamed(weights, {'a': 'a'}, 'net')


def test_two_keys_of_one_name_are_refused() -> None:
    with pytest.raises(UserError, match='no b.weight:'):
        renamed({'a.weight': ONE, 'b.weight': ONE}, {'a|b': 'c'}, 'net')


def test_blocks_are_counted_by_stage() -> None:
    keys = ['layer1.0.a', 'layer1.1.a', 'layer1.1.b', 'layer2.0.a', 'fc.a']
    weights = dict.fromkeys(keys, ONE)
    assert count_blocks(weights, r'layer(\d+)\.(\d+)\.') == (2, 1)


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
