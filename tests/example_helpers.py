"""The framework's side of what the tests of the examples compare."""
from pathlib import Path
from typing import Any

import torch
from mmengine.optim import OptimWrapperDict
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from tadfkd.algorithms import BaseDFKD
from tadfkd.apis import load_config
from tadfkd.engine import PerNetworkConstructor
from tadfkd.evaluation import calibrate_batch_norm
from tadfkd.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
_NARROW = {
    'backbone.base_channels': 4,
    'backbone.stem_channels': 4,
    'head.in_channels': 32
}


def digits_algorithm(
        name: str, options: dict[str,
                                 Any]) -> tuple[BaseDFKD, OptimWrapperDict]:
    """The algorithm of a digits config with narrow networks, and the
    optimisers of the config.

    Args:
        name: The folder below ``configs``.
        options: Dotted keys of the model and their values.
    """
    init_default_scope('tadfkd')
    config = load_config(
        CONFIGS / name / 'resnet18w16_to_resnet18w8_digits.py', {
            f'model.{network}.{key}': value
            for network in ('teacher.model', 'student')
            for key, value in _NARROW.items()
        } | {
            'model.generator.latent_size': 16,
            'model.generator.width': 4,
            'model.batch_size': 16,
            'model.teacher.checkpoint': None,
            'model.teacher.allow_random_weights': True
        } | {
            f'model.{key}': value
            for key, value in options.items()
        })
    model = MODELS.build(config.model)
    # Random weights alone give almost the same answer to all images.
    nn.init.normal_(model.teacher.network.head.fc.weight)
    calibrate_batch_norm(model.teacher, torch.rand(64, 1, 16, 16))
    config.optim_wrapper.pop('constructor')
    return model.train(), PerNetworkConstructor(config.optim_wrapper)(model)


def with_weights_of(source: nn.Module, target: nn.Module) -> nn.Module:
    """``target`` with the weights of ``source``, which has the same layers
    in the same order under other names."""
    target.load_state_dict(
        dict(
            zip(target.state_dict(), source.state_dict().values(),
                strict=True)))
    return target


def plain_statistics(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance as the plain scripts compute them. The framework's
    own differ in the last bit; ``test_channel_statistics`` compares them."""
    variance_F, mean_F = torch.var_mean(inputs, (0, 2, 3), correction=0)
    return mean_F, variance_F


def assert_equal_weights(first: nn.Module, second: nn.Module) -> None:
    """Parameters and buffers are finite and equal bit for bit."""
    values = second.state_dict().values()
    for (name, value), other in zip(
            first.state_dict().items(), values, strict=True):
        assert value.isfinite().all() and torch.equal(value, other), name
