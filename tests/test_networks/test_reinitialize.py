"""A network gets new initial weights, and nothing else changes."""
import copy

import numpy as np
import pytest
import torch
from torch import nn

from tadfkd.generators import UpsamplingGenerator
from tadfkd.networks.reinitialize import reinitialize


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def generator(spectral: bool = False) -> UpsamplingGenerator:
    return UpsamplingGenerator(6, 8, 1, width=4, spectral=spectral)


def trained(network: nn.Module) -> nn.Module:
    """All parameters and buffers get other values."""
    with torch.no_grad():
        for value in network.state_dict().values():
            value.copy_(5 + torch.rand(value.shape) if value.is_floating_point(
            ) else torch.full_like(value, 7))
    return network


def test_every_layer_is_like_a_new_one() -> None:
    network = trained(generator())
    parameters = [*network.parameters()]
    before = copy.deepcopy(network.state_dict())
    reinitialize(network, stream())
    # The same objects, as an optimiser refers to them.
    assert all(
        mine is theirs
        for mine, theirs in zip(parameters, network.parameters(), strict=True))
    for name, value in network.state_dict().items():
        assert not torch.equal(value, before[name]), name
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert (layer.weight == 1).all() and not layer.bias.any()
            assert not layer.running_mean.any()
            assert (layer.running_var == 1).all()
            assert layer.num_batches_tracked == 0
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            # Torch's own bounds: 1 / sqrt(inputs), of weight and bias.
            bound = layer.weight[0].numel()**-0.5
            for value in (layer.weight, layer.bias):
                assert 0 < value.abs().max() <= bound


def test_normal_weights_are_those_of_a_dcgan() -> None:
    # The layers and figures of cmi.reinitialisation of the released code.
    network = trained(
        nn.Sequential(
            nn.Linear(256, 256), nn.BatchNorm2d(4096), nn.Conv2d(64, 64, 3),
            nn.BatchNorm2d(4, affine=False), nn.ConvTranspose2d(32, 32, 3),
            nn.PReLU()))
    reinitialize(network, stream(), 'normal')
    linear, norm, conv, plain, transposed, other = network
    for layer in (linear, conv, transposed):
        assert layer.weight.mean().abs() < 1e-3
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert not layer.bias.any()
    assert norm.weight.mean().item() == pytest.approx(1, abs=1e-3)
    assert norm.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not norm.bias.any()
    for layer in (norm, plain):
        assert not layer.running_mean.any() and layer.running_var.eq(1).all()
    assert other.weight == 0.25
    before = copy.deepcopy(network.state_dict())
    reinitialize(trained(network), stream(), 'normal')
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_same_seed_gives_the_same_weights_whatever_was_there() -> None:
    one, other = generator(), trained(generator())
    torch.rand(5)
    reinitialize(one, stream(3))
    torch.manual_seed(99)
    reinitialize(other, stream(3))
    for name, value in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    third = generator()
    reinitialize(third, stream(4))
    assert not torch.isclose(third.project.weight, one.project.weight).all()


def test_layers_with_a_spectral_norm_are_initialised_too() -> None:
    # Their weight is computed from the parameter 'original'.
    network = generator(spectral=True)
    for layer in network.upsample:
        if isinstance(layer, nn.Conv2d):
            nn.init.constant_(layer.parametrizations.weight.original, 5.0)
    other = generator(spectral=True)
    for either in (network, other):
        reinitialize(either, stream())
    for name, value in network.named_parameters():
        assert torch.equal(value, dict(other.named_parameters())[name]), name
    for layer in network.upsample:
        if isinstance(layer, nn.Conv2d):
            original = layer.parametrizations.weight.original
            assert isinstance(original, nn.Parameter)
            assert original.requires_grad
            bound = 1 / np.sqrt(original[0].numel())
            assert 0 < abs(original).max() <= bound
            # Random, not a multiple of the old constant.
            assert original.unique().numel() > 1
    reinitialize(network, stream(), 'normal')
    assert 0.01 < layer.parametrizations.weight.original.std() < 0.03
    # The parameter still gets gradients.
    network(torch.randn(4, 6)).sum().backward()
    assert layer.parametrizations.weight.original.grad is not None
