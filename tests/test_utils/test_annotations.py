"""Values from configs are checked against annotations."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from torch import Tensor, nn

from tadfkd.errors import UserError
from tadfkd.utils.annotations import check_arguments, fits, parameters_of

NAN, INFINITY = float('nan'), float('inf')


@pytest.mark.parametrize('annotation, good, bad', [
    (int, [0, -3, 10**400], [True, 1.0, '1', None, [1], NAN]),
    (float, [1, 0.5, 10**400], [True, '1', None, NAN, INFINITY, -INFINITY]),
    (bool, [True], [1, 0, 'yes', None]),
    (str, ['', 'a'], [1, None, ['a']]),
    (dict, [{}, dict(a=1), [dict(a=1)]], [[], [1], 'a', None]),
    (dict[str, int], [dict(a='not checked')], [1]),
    (list[int], [[], [1], (1, 2)], [1, ['1'], [1, None], 'ab']),
    (tuple[float, float], [[0.5, 1], (1, 2)], [[1], [1, 'x'], 0.5]),
    (tuple[int, ...], [[], [1, 2, 3]], [['x'], 1]),
    (Sequence[str], [['a']], ['a', [1]]),
    (int | None, [None, 1], ['1', 1.5]),
    (float | Tensor, [1, dict(type='of a tensor')], ['x', None, [1]]),
    (Literal['a', 2], ['a', 2], ['b', None, [1]]),
    (Path, ['here'], [1, None]),
    (nn.Module, [dict(type='ReLU'), nn.ReLU()], ['ReLU', 1, [1]]),
    (Any, [None, NAN, 'a'], []),
    ('an unresolved name', [1, None], []),
])
def test_what_fits_an_annotation(annotation: Any, good: list,
                                 bad: list) -> None:
    assert [value for value in good if not fits(value, annotation)] == []
    assert [value for value in bad if fits(value, annotation)] == []


class Base:
    """Its arguments may come from a derived class."""

    def __init__(self, size: int, plain=None) -> None:
        self.size = size


class Open(Base):
    """It passes unknown arguments on to its base class."""

    def __init__(self, rate: float = None, **base: Any) -> None:
        super().__init__(**base)


class Closed(Base):
    """It takes no unknown arguments."""

    def __init__(self, rate: float = 1.0) -> None:
        super().__init__(1)


def test_arguments_of_a_base_class_count_if_they_are_passed_on() -> None:
    assert [*parameters_of(Closed)] == ['rate']
    assert {*parameters_of(Open)} == {'rate', 'size', 'plain'}


def test_an_argument_is_named_with_its_path() -> None:
    with pytest.raises(UserError) as caught:
        check_arguments('model.part', Open, dict(size='four'))
    assert str(caught.value) == (
        "size must be a whole number, got 'four': set model.part.size")


def nested(either: list[list | dict] | dict) -> None:
    """It takes a dictionary in two places."""


def test_words_for_a_nested_choice_are_clear() -> None:
    with pytest.raises(UserError) as caught:
        check_arguments('model.part', nested, dict(either=3))
    assert str(caught.value) == (
        'either must be a list (each item a list or a dictionary) or a '
        'dictionary, got 3: set model.part.either')


@pytest.mark.parametrize('arguments', [
    dict(size=1, rate=None),
    dict(plain='x'),
    dict(unknown=1, type='Open'),
])
def test_defaults_and_arguments_without_annotation_pass(
        arguments: dict) -> None:
    check_arguments('model', Open, arguments)
