"""One optimiser per network, and bfloat16 on any device."""
from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from algorithm_helpers import make_algorithm
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn

from tadfkd.algorithms import BaseDFKD
from tadfkd.engine import (AutocastOptimWrapper, GuardedOptimWrapper,
                           PerNetworkConstructor)
from tadfkd.errors import UserError
from tadfkd.registry import OPTIM_WRAPPERS


class TwoNetworks(nn.Module):
    """A student and a generator, and something that is not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.student = nn.Linear(3, 2)
        self.generator = nn.Linear(4, 3)
        self.teacher = nn.Linear(3, 2)


def sgd(lr: float, **options: object) -> dict:
    """Config of a wrapper."""
    return dict(
        type='OptimWrapper', optimizer=dict(type='SGD', lr=lr), **options)


def managed(wrappers: OptimWrapperDict, name: str) -> list[Tensor]:
    """The parameters that a network's optimiser changes."""
    return [
        parameter for group in wrappers[name].optimizer.param_groups
        for parameter in group['params']
    ]


def test_each_network_has_its_own_parameters_and_settings() -> None:
    model = TwoNetworks()
    wrappers = PerNetworkConstructor(
        dict(
            student=sgd(0.1),
            generator=dict(
                type='OptimWrapper', optimizer=dict(type='Adam', lr=0.2))))(
                    model)
    assert set(wrappers.keys()) == {'student', 'generator'}
    for name in ('student', 'generator'):
        expected = list(getattr(model, name).parameters())
        assert [id(p)
                for p in managed(wrappers, name)] == [id(p) for p in expected]
    assert isinstance(wrappers['student'].optimizer, torch.optim.SGD)
    assert isinstance(wrappers['generator'].optimizer, torch.optim.Adam)
    assert wrappers.get_lr() == {
        'student.lr': [0.1],
        'generator.lr': [0.2],
        # For tools that read logs of one optimiser.
        'lr': [0.1]
    }


def test_a_network_that_is_trained_without_optimiser_is_named(
        make_model: Callable[..., BaseDFKD]) -> None:
    with pytest.raises(
            UserError,
            match='optim_wrapper has no generator: set optim_wrapper.generator'
    ):
        PerNetworkConstructor(dict(student=sgd(0.1)))(make_model())


def test_matrix_products_of_a_step_run_in_bfloat16() -> None:
    model = nn.Linear(3, 2)
    wrapper = AutocastOptimWrapper(
        optimizer=torch.optim.SGD(model.parameters(), 0.1))
    inputs_BF = torch.rand(4, 3)
    with wrapper.optim_context(model):
        assert model(inputs_BF).dtype == torch.bfloat16
        assert (inputs_BF @ inputs_BF.T).dtype == torch.bfloat16
    assert model(inputs_BF).dtype == torch.float32


class Scaled(OptimWrapper):
    """Like mmengine's AmpOptimWrapper, which needs a GPU."""
    loss_scaler = None


class GuardedScaled(GuardedOptimWrapper, Scaled):
    """Like ours for AmpOptimWrapper."""


@pytest.mark.parametrize('kind, algorithm, message', [
    (GuardedScaled, 'TADFKD', None),
    (GuardedScaled, 'KAKR', 'KAKR combines.*student.type.*--amp'),
    (GuardedScaled, 'CMI', 'CMI combines.*student.type.*--amp'),
    (GuardedScaled, 'FastDFKD', 'FastDFKD combines.*student.type.*--amp'),
    (Scaled, 'TADFKD', 'Scaled does not skip steps .*student.type to Optim'),
])
def test_types_of_other_libraries_are_guarded_and_fit_the_algorithm(
        monkeypatch: pytest.MonkeyPatch, kind: type, algorithm: str,
        message: str | None) -> None:
    monkeypatch.setitem(OPTIM_WRAPPERS.module_dict, 'Other', kind)
    model = make_algorithm(algorithm)
    constructor = PerNetworkConstructor({
        name:
        dict(type='Other', optimizer=dict(type='SGD', lr=0.1))
        for name in model.trained_networks
    })
    with pytest.raises(UserError, match=message) if message else nullcontext():
        constructor(model)


@pytest.mark.parametrize('type', ['OptimWrapper', 'AutocastOptimWrapper'])
def test_each_type_of_a_config_is_built_in_its_guarded_form(type: str) -> None:
    config = sgd(0.1) | dict(type=type)
    wrapper = PerNetworkConstructor(dict(student=config))(
        TwoNetworks())['student']
    assert isinstance(wrapper, GuardedOptimWrapper)
    assert isinstance(wrapper, OPTIM_WRAPPERS.get(type))
