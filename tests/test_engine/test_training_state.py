"""Checkpoints that hold what continuation needs."""
import copy
from types import SimpleNamespace

import pytest
import torch

from tadfkd.algorithms import BaseDFKD
from tadfkd.engine.hooks import TrainingStateHook
from tadfkd.errors import UserError


def runner_of(model: BaseDFKD, resumes: bool = True) -> SimpleNamespace:
    """What the hook asks a Runner for."""
    return SimpleNamespace(model=model, _resume=resumes, _train_loop=object())


def saved(model: BaseDFKD) -> dict:
    """A checkpoint, as the Runner and the hook make it."""
    checkpoint = dict(state_dict=model.state_dict())
    TrainingStateHook().before_save_checkpoint(runner_of(model), checkpoint)
    return copy.deepcopy(checkpoint)


def test_a_resumed_run_goes_on_where_the_checkpoint_was_made(
        tiny_model: BaseDFKD) -> None:
    tiny_model.generate(3, tiny_model.generator)
    tiny_model.queue.add(tiny_model.generate(5, tiny_model.generator).detach())
    tiny_model.counters.student_steps = 7
    checkpoint = saved(tiny_model)

    def go_on() -> tuple:
        latents_BZ = tiny_model.sample_latents(
            4, tiny_model.streams.get('latents', tiny_model.device))
        return latents_BZ, copy.copy(tiny_model.counters), len(
            tiny_model.queue), tiny_model.queue.take(2).images_BCHW

    expected = go_on()
    # Elsewhere by now.
    tiny_model.generate(9, tiny_model.generator)
    tiny_model.counters.student_steps = 100
    TrainingStateHook().after_load_checkpoint(
        runner_of(tiny_model), checkpoint)
    found = go_on()
    assert torch.equal(found[0], expected[0])
    assert found[1] == expected[1]
    assert found[1].student_steps == 7 and found[1].images_generated == 8
    assert found[2] == expected[2] == 5
    assert torch.equal(found[3], expected[3])


def test_weights_alone_are_no_resumption(tiny_model: BaseDFKD) -> None:
    checkpoint = saved(tiny_model)
    tiny_model.counters.student_steps = 3
    TrainingStateHook().after_load_checkpoint(
        runner_of(tiny_model, resumes=False), checkpoint)
    assert tiny_model.counters.student_steps == 3


def test_evaluation_restores_no_training_state(tiny_model: BaseDFKD) -> None:
    checkpoint = saved(tiny_model)
    tiny_model.counters.student_steps = 3
    runner = runner_of(tiny_model)
    runner._train_loop = None
    TrainingStateHook().after_load_checkpoint(runner, checkpoint)
    assert tiny_model.counters.student_steps == 3


def test_a_checkpoint_without_training_state_cannot_be_resumed(
        tiny_model: BaseDFKD) -> None:
    checkpoint = dict(state_dict=tiny_model.state_dict())
    with pytest.raises(UserError, match='no training state.*load_from'):
        TrainingStateHook().after_load_checkpoint(
            runner_of(tiny_model), checkpoint)


@pytest.mark.parametrize('bare', [False, True])
def test_weights_without_training_state_can_be_loaded(tiny_model: BaseDFKD,
                                                      bare: bool) -> None:
    weights = tiny_model.state_dict()
    TrainingStateHook().after_load_checkpoint(
        runner_of(tiny_model, resumes=False),
        weights if bare else dict(state_dict=weights))
    # The same dictionary is refused as soon as it does not fit.
    del weights['student.head.fc.bias']
    with pytest.raises(UserError, match='student.head.fc.bias'):
        TrainingStateHook().after_load_checkpoint(
            runner_of(tiny_model, resumes=False),
            weights if bare else dict(state_dict=weights))


@pytest.mark.parametrize('resumes', [False, True])
@pytest.mark.parametrize('change', ['missing', 'unexpected', 'other shape'])
def test_other_networks_are_a_user_error_that_names_the_tensor(
        tiny_model: BaseDFKD, change: str, resumes: bool) -> None:
    checkpoint = saved(tiny_model)
    weights = checkpoint['state_dict']
    name = 'student.head.fc.weight'
    if change == 'missing':
        del weights[name]
    elif change == 'unexpected':
        name = 'student.head.fc2.weight'
        weights[name] = torch.zeros(2)
    else:
        weights[name] = torch.zeros(100, 32)
    with pytest.raises(UserError) as error:
        TrainingStateHook().after_load_checkpoint(
            runner_of(tiny_model, resumes), checkpoint)
    assert f'1 tensors are missing, unexpected or of another shape ({name})' \
        in str(error.value)
    assert 'use the config that it was trained with' in str(error.value)
