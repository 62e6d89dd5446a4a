"""A user's mistake is told in one sentence, and a bug is not hidden."""
import pytest
import torch
from mmengine.registry import MODELS as ROOT_MODELS

from tadfkd.apis.command_line import run_tool
from tadfkd.errors import (UnhealthyRun, UserError, nearest, require_at_least,
                           require_choice)
from tadfkd.registry import MODELS, SELECTORS
from tadfkd.utils.library_errors import (as_config_error,
                                         memory_errors_as_user_errors,
                                         registry_errors_as_user_errors)


@pytest.mark.parametrize('name, meant', [('GMMSelectr', 'GMMSelector'),
                                         ('gmmselector', 'GMMSelector'),
                                         ('SELECTALL', 'SelectAll'),
                                         ('selectal', 'SelectAll'),
                                         ('SelectAll', 'SelectAll')])
def test_the_nearest_name_is_suggested(name: str, meant: str) -> None:
    allowed = ['SelectAll', 'GMMSelector', 'EntropySelector']
    assert nearest(name, iter(allowed)) == f'did you mean {meant!r}?'


def test_all_names_are_listed_in_order_where_none_is_near() -> None:
    assert nearest('xyz', {'b', 'a', 'c'}) == 'known are a, b, c'


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


@pytest.mark.parametrize('registry, typed, suggested', [
    (MODELS, 'L1Los', 'L1Loss'),
    (MODELS, 'upsamplinggenerator', 'UpsamplingGenerator'),
    (SELECTORS, 'tadfkd.GMMSelecto', 'GMMSelector'),
    (MODELS, 'mmengine.ExponentialMovingAverag', 'ExponentialMovingAverage'),
])
def test_a_misspelt_component_is_corrected(registry, typed: str,
                                           suggested: str) -> None:
    with pytest.raises(UserError) as caught:
        with registry_errors_as_user_errors():
            registry.build(dict(type=typed))
    message = str(caught.value)
    assert f'no {registry.name} is registered' in message
    assert f'did you mean {suggested!r}?' in message
    assert '\n' not in message


def test_a_misspelt_argument_names_the_component_and_the_argument() -> None:
    with pytest.raises(UserError) as caught:
        with registry_errors_as_user_errors():
            MODELS.build(dict(type='KLLoss', temprature=4.0))
    message = str(caught.value)
    assert 'KLLoss' in message and "'temprature'" in message
    assert '\n' not in message


def test_a_missing_argument_names_the_component_and_the_argument() -> None:
    with pytest.raises(UserError) as caught:
        with registry_errors_as_user_errors():
            MODELS.build(dict(type='UpsamplingGenerator', latent_size=4))
    message = str(caught.value)
    assert 'UpsamplingGenerator' in message and 'image_size' in message
    assert '\n' not in message


def test_a_users_mistake_inside_of_a_component_keeps_its_message() -> None:
    with pytest.raises(UserError, match='set the KLLoss.temperature'):
        with registry_errors_as_user_errors():
            MODELS.build(dict(type='KLLoss', temperature=-1))


@pytest.mark.parametrize(
    'bug', [
        KeyError('images'),
        TypeError('unsupported operand type(s) for +'),
        TypeError("'int' object is not callable"),
        ValueError('no mistake of the user'),
        RuntimeError('broken')
    ],
    ids=repr)
def test_a_bug_passes_as_it_is(bug: Exception) -> None:
    with pytest.raises(type(bug)) as caught:
        with registry_errors_as_user_errors():
            raise bug
    assert caught.value is bug


def test_what_fails_while_building_is_told_with_its_place() -> None:
    with pytest.raises(UserError) as caught:
        with as_config_error('model'):
            [].index('missing\nsecond line')
    message = str(caught.value)
    assert message.startswith('model cannot be built (ValueError: ')
    assert 'in test_errors.py, line' in message
    assert '\n' not in message


def test_what_fails_at_work_passes_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        with as_config_error('model', begun=lambda: True):
            raise ZeroDivisionError


def test_a_lack_of_memory_is_no_bug() -> None:
    with pytest.raises(UserError, match='memory.*lower model.batch_size'):
        with memory_errors_as_user_errors():
            torch.empty(2**50)
    with pytest.raises(RuntimeError, match='another'):
        with memory_errors_as_user_errors():
            raise RuntimeError('another')


def test_a_bug_in_a_component_is_not_taken_for_a_mistake() -> None:

    @ROOT_MODELS.register_module('BrokenForATest')
    class Broken:
        """Fails over its own code, not over the config."""

        def __init__(self) -> None:
            raise TypeError("'NoneType' object is not subscriptable")

    try:
        with pytest.raises(TypeError, match='not subscriptable') as caught:
            with registry_errors_as_user_errors():
                ROOT_MODELS.build(dict(type='BrokenForATest'))
        assert not isinstance(caught.value, UserError)
    finally:
        del ROOT_MODELS.module_dict['BrokenForATest']


def test_a_tool_ends_over_a_users_mistake_in_one_line_and_fails(
        capsys: pytest.CaptureFixture[str]) -> None:

    def main() -> None:
        raise UserError('x must be 1, got 2: set x')

    with pytest.raises(SystemExit) as caught:
        run_tool(main)
    assert caught.value.code == 1
    assert capsys.readouterr().err == 'error: x must be 1, got 2: set x\n'


def test_a_run_that_cannot_go_on_has_a_code_of_its_own(
        capsys: pytest.CaptureFixture[str]) -> None:

    def main() -> None:
        raise UnhealthyRun('training ends in epoch 3')

    with pytest.raises(SystemExit) as caught:
        run_tool(main)
    assert caught.value.code == 3
    assert capsys.readouterr().err == 'error: training ends in epoch 3\n'


def test_a_tool_turns_a_misspelt_component_into_one_line(
        capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_tool(lambda: SELECTORS.build(dict(type='SelectAl')))
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith('error: no selector')
    assert 'SelectAll' in line


def test_a_tool_shows_a_bug_with_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_tool(lambda: 1 / 0)


def test_a_tool_without_mistakes_ends_in_peace() -> None:
    calls = []
    run_tool(lambda: calls.append('main'))
    assert calls == ['main']
