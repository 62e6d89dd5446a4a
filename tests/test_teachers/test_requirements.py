"""The facts of a teacher, and where each comes from."""
from typing import Any

import pytest
from torch import nn

from tadfkd.classifiers.facts import Fact
from tadfkd.errors import UserError
from tadfkd.teachers.requirements import resolve_facts

BY_USER, BY_CONFIG = 'set in model.teacher', 'the test data of the config'


class Sized(nn.Module):
    """A network with an image size and a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.img_size = 30
        self.stem = nn.Conv2d(4, 2, 1)


def resolved(network: nn.Module | None = None,
             found: dict | None = None,
             **given: Any) -> dict[str, Fact]:
    """The facts, with defaults for those that are needed."""
    needed = dict(mean=[1.0], std=[2.0], input_size=8)
    return resolve_facts(needed | given, found or {}, network or nn.Flatten())


def test_the_user_wins_over_the_config_and_that_over_the_network() -> None:
    found = dict(
        input_size=Fact((20, 24), BY_CONFIG),
        num_channels=Fact(3, BY_CONFIG),
        channel_order=Fact('bgr', BY_CONFIG),
        activation=Fact('sigmoid', 'Head'),
        output=Fact('sum', 'Head'))
    by_network = resolved(Sized(), input_size=None)
    assert by_network['input_size'] == ((30, 30), 'the network')
    assert by_network['num_channels'] == (4, 'the first convolution')

    by_config = resolved(Sized(), found, input_size=None)
    assert {name: by_config[name] for name in found} == found

    given = dict(
        input_size=(8, 9),
        num_channels=1,
        channel_order='rgb',
        activation='softmax',
        output=0)
    by_user = resolved(Sized(), found, **given)
    assert {
        name: by_user[name]
        for name in given
    } == {
        name: Fact(value, BY_USER)
        for name, value in given.items()
    }


def test_what_nobody_tells_is_assumed() -> None:
    facts = resolved()
    assert facts['channel_order'] == ('rgb', 'assumed')
    assert facts['activation'] == ('softmax', 'assumed')
    assert facts['num_channels'] == (1, 'the length of mean')
    assert 'output' not in facts and 'num_classes' not in facts
    assert resolved(mean=[1, 2, 3], std=[1, 2, 3])['num_channels'].value == 3


@pytest.mark.parametrize('name', ['input_size', 'mean', 'std'])
def test_what_cannot_be_found_out_is_asked_for_by_name(name: str) -> None:
    with pytest.raises(UserError) as caught:
        resolved(**{name: None})
    assert f'{name} of the teacher Flatten is unknown' in str(caught.value)
    assert f'set model.teacher.{name}' in str(caught.value)
