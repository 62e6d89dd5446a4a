"""A mistake in a config is one sentence, and a bug is not hidden."""
import pytest
import torch
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS

from tadfkd.errors import UserError
from tadfkd.registry import METRICS, MODELS, OPTIMIZERS, SELECTORS
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


@pytest.mark.parametrize('registry, typed, hint', [
    (METRICS, 'Accuracy', "did you mean 'mmpretrain.Accuracy'?"),
    (METRICS, 'Acuracy', "did you mean 'mmpretrain.Accuracy'?"),
    (OPTIMIZERS, 'Lamb', "did you mean 'mmpretrain.Lamb'?"),
    (MODELS, 'MyStudent',
     'if it is your own, name its module in custom_imports'),
    (MMPRETRAIN_MODELS, 'DFAD', "did you mean 'tadfkd.DFAD'?"),
    (SELECTORS, 'Mine', 'known are ClassQuotaSelector, '),
])
def test_a_proposed_name_is_found(registry, typed: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        with registry_errors_as_user_errors():
            registry.build(dict(type=typed))
    message = str(caught.value)
    assert message.startswith(
        f'no {registry.name} is registered as {typed!r}: {hint}')
    if 'did you mean' in message:
        assert registry.get(hint.split("'")[1]) is not None


def test_a_misspelt_argument_names_the_component_and_the_argument() -> None:
    with pytest.raises(UserError) as caught:
        with registry_errors_as_user_errors():
            MODELS.build(dict(type='KLLoss', temprature=4.0))
    message = str(caught.value)
    assert 'KLLoss' in message and "'temprature'" in message
    assert '\n' not in message


def test_an_argument_of_another_type_may_be_inherited() -> None:
    with pytest.raises(
            UserError,
            match="argument 'latent_size': take it out, or add _delete_=True "
            'if it was inherited with another type'):
        with registry_errors_as_user_errors():
            MODELS.build(dict(type='PixelGenerator', latent_size=3))


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
