"""A small distillation whose every part is real."""
from collections.abc import Callable
from typing import Any

import pytest
from mmengine.optim import OptimWrapperDict
from mmengine.registry import init_default_scope
from tiny_networks import classifier

from tadfkd.algorithms import BaseDFKD
from tadfkd.engine import PerNetworkConstructor
from tadfkd.registry import MODELS


@pytest.fixture
def make_model() -> Callable[..., BaseDFKD]:
    """Builds a TA-DFKD model; keywords replace its arguments."""
    init_default_scope('tadfkd')

    def make(**changes: Any) -> BaseDFKD:
        config = dict(
            type='TADFKD',
            teacher=dict(
                type='MMPretrainTeacher',
                model=classifier(),
                allow_random_weights=True),
            student=classifier(),
            generator=dict(
                type='UpsamplingGenerator',
                latent_size=6,
                image_size=8,
                image_channels=1,
                width=4),
            batch_size=8)
        return MODELS.build(config | changes)

    return make


@pytest.fixture
def make_optimisers() -> Callable[[BaseDFKD], OptimWrapperDict]:
    """Plain SGD for student and generator."""

    def make(model: BaseDFKD) -> OptimWrapperDict:
        return PerNetworkConstructor({
            name:
            dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
            for name in ('student', 'generator')
        })(
            model)

    return make
