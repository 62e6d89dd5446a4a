"""Checkpoints that hold everything a resumed run needs."""
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


@pytest.fixture
def checkpoint(tiny_model: BaseDFKD) -> dict:
    """As the Runner and the hook make it, after 7 student steps."""
    tiny_model.candidates.fresh(3)
    tiny_model.counters.steps['student'] = 7
    checkpoint = dict(state_dict=tiny_model.state_dict())
    TrainingStateHook().before_save_checkpoint(
        runner_of(tiny_model), checkpoint)
    assert checkpoint['meta']['num_classes'] == 10
    return copy.deepcopy(checkpoint)


@pytest.mark.parametrize('trains', [False, True])
def test_weights_alone_restore_no_training_state(tiny_model: BaseDFKD,
                                                 checkpoint: dict,
                                                 trains: bool) -> None:
    tiny_model.counters.steps['student'] = 3
    # By load_from, or for an evaluation.
    runner = runner_of(tiny_model, resumes=not trains)
    if not trains:
        runner._train_loop = None
    TrainingStateHook().after_load_checkpoint(runner, checkpoint)
    assert tiny_model.counters.student_steps == 3


def test_what_cannot_be_resumed_is_refused(tiny_model: BaseDFKD,
                                           checkpoint: dict) -> None:
    hook, runner = TrainingStateHook(), runner_of(tiny_model)
    checkpoint['training_state'] *= 2
    with pytest.raises(
            UserError,
            match='saved by 2 processes and there are 1 now: resume with 2, '
            'or start a new run with load_from'):
        hook.after_load_checkpoint(runner, checkpoint)
    del checkpoint['training_state']
    with pytest.raises(UserError, match='no training state.*load_from'):
        hook.after_load_checkpoint(runner, checkpoint)


@pytest.mark.parametrize('bare', [False, True])
@pytest.mark.parametrize('resumes', [False, True])
@pytest.mark.parametrize('change', ['missing', 'unexpected', 'other shape'])
def test_other_networks_are_a_user_error_that_names_the_tensor(
        tiny_model: BaseDFKD, checkpoint: dict, change: str, resumes: bool,
        bare: bool) -> None:
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
            runner_of(tiny_model, resumes), weights if bare else checkpoint)
    assert f'1 tensors are missing, unexpected or of another shape ({name})' \
        in str(error.value)
    assert 'use the config that it was trained with' in str(error.value)
