"""A mistake in a config is one sentence, and a bug is not hidden."""
import mmpretrain.evaluation  # noqa: F401 (registers Accuracy)
import pytest
import torch

from tadfkd.errors import UserError
from tadfkd.registry import METRICS, MODELS, SELECTORS
from tadfkd.utils.library_errors import (as_config_error,
                                         memory_errors_as_user_errors,
                                         registry_errors_as_user_errors)


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


def test_a_name_without_its_scope_is_proposed_with_it() -> None:
    with pytest.raises(UserError, match="did you mean 'mmpretrain.Accuracy'"):
        with registry_errors_as_user_errors():
            METRICS.build(dict(type='Accuracy'))


def test_a_misspelt_argument_names_the_component_and_the_argument() -> None:
    with pytest.raises(UserError) as caught:
        with registry_errors_as_user_errors():
            MODELS.build(dict(type='KLLoss', temprature=4.0))
    message = str(caught.value)
    assert 'KLLoss' in message and "'temprature'" in message
    assert '\n' not in message


def test_a_users_mistake_inside_of_a_component_keeps_its_message() -> None:
    with pytest.raises(UserError, match='set the KLLoss.temperature'):
        with registry_errors_as_user_errors():
            MODELS.build(dict(type='KLLoss', temperature=-1))


@pytest.mark.parametrize(
    'bug', [
        KeyError('images'),
        TypeError('unsupported operand type(s) for +'),
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
    assert 'in test_library_errors.py, line' in message
    assert '\n' not in message


def test_what_fails_at_work_passes_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        with as_config_error('model', has_begun=lambda: True):
            raise ZeroDivisionError


def test_a_lack_of_memory_is_no_bug() -> None:
    with pytest.raises(UserError, match='memory.*lower model.batch_size'):
        with memory_errors_as_user_errors():
            torch.empty(2**50)
    with pytest.raises(RuntimeError, match='another'):
        with memory_errors_as_user_errors():
            raise RuntimeError('another')
