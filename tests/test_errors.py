"""Checks of names, numbers and choices, and their sentences."""
import pytest

from tadfkd.errors import (UserError, nearest, printable, require_at_least,
                           require_choice, size_pair)


@pytest.mark.parametrize('name, meant', [('GMMSelectr', 'GMMSelector'),
                                         ('gmmselector', 'GMMSelector'),
                                         ('SELECTALL', 'SelectAll'),
                                         ('selectal', 'SelectAll')])
def test_the_nearest_name_is_suggested(name: str, meant: str) -> None:
    allowed = ['SelectAll', 'GMMSelector', 'EntropySelector']
    assert nearest(name, iter(allowed)) == f'did you mean {meant!r}?'


def test_all_names_are_listed_in_order_where_none_is_near() -> None:
    assert nearest('xyz', {'b', 'a', 'c'}) == 'known are a, b, c'


def test_a_refused_name_is_not_proposed() -> None:
    assert nearest('size', ['size', 'sizes']) == "did you mean 'sizes'?"


@pytest.mark.parametrize('text, shown', [
    ('\x1b[2J\rOK\n', r'\x1b[2J\rOK\n'),
    ('a\u202eb\u200b\ud800', r'a\u202eb\u200b\ud800'),
    ('Größe 漢字', 'Größe 漢字'),
    ('a' * 9000, 'a' * 2000 + ' ... ' + 'a' * 2000),
])
def test_a_message_cannot_change_the_terminal(text: str, shown: str) -> None:
    assert str(UserError(text)) == printable(text) == shown


@pytest.mark.parametrize('value, minimum', [(1, 1), (2, 1),
                                            (0.0, 0.0), (3, 0.5), (1e-3, 1e-3),
                                            (10**30, 1)])
def test_values_from_the_minimum_on_pass(value: float, minimum: float) -> None:
    require_at_least('model', 'field', value, minimum)


@pytest.mark.parametrize('value, minimum, kind', [
    (0, 1, 'a whole number'),
    (1.0, 1, 'a whole number'),
    (True, 1, 'a whole number'),
    ('3', 1, 'a whole number'),
    (None, 1, 'a whole number'),
    (-0.1, 0.0, 'a number'),
    (float('nan'), 0.0, 'a number'),
    (True, 0.0, 'a number'),
    ('3', 0.0, 'a number'),
    ([1], 0.0, 'a number'),
])
def test_other_values_are_refused_with_what_to_change(value: object,
                                                      minimum: float,
                                                      kind: str) -> None:
    with pytest.raises(UserError) as caught:
        require_at_least('model.selector', 'field', value, minimum)
    assert str(caught.value) == (f'field must be {kind} >= {minimum}, got '
                                 f'{value!r}: set model.selector.field')


def test_a_choice_is_refused_with_those_allowed() -> None:
    require_choice('model', 'mode', 'b', ('a', 'b'))
    with pytest.raises(UserError) as caught:
        require_choice('model', 'mode', 'c', ('a', 'b'))
    assert str(
        caught.value) == ("mode must be 'a' or 'b', got 'c': set model.mode")


def test_a_size_is_one_number_or_two() -> None:
    assert size_pair('model', 'size', 8) == (8, 8)
    assert size_pair('model', 'size', [8, 4]) == (8, 4)
    for value in (0, True, 1.5, [8], [8, 4, 2], [8, -1], '8', None):
        with pytest.raises(UserError, match='set model.size'):
            size_pair('model', 'size', value)
