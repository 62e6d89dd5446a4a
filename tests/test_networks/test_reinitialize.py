"""A network that begins again, and nothing else that does."""
import copy

import numpy as np
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from tadfkd.generators import UpsamplingGenerator
from tadfkd.networks.reinitialize import reinitialize


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def generator(spectral: bool = False) -> UpsamplingGenerator:
    return UpsamplingGenerator(6, 8, 1, width=4, spectral=spectral)


def trained(network: nn.Module) -> nn.Module:
    """All that is learned, or counted, is something else."""
    with torch.no_grad():
        for value in network.state_dict().values():
            value.copy_(5 + torch.rand(value.shape) if value.is_floating_point(
            ) else torch.full_like(value, 7))
    return network


def test_every_layer_is_as_a_new_one() -> None:
    network = trained(generator())
    parameters = [*network.parameters()]
    before = copy.deepcopy(network.state_dict())
    reinitialize(network, stream())
    # The same objects, so that an optimiser still has them.
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


def test_weights_have_the_distribution_of_a_new_layer() -> None:
    network = trained(nn.Sequential(nn.Linear(400, 50)))
    reinitialize(network, stream())
    weights = network[0].weight.detach().numpy()
    # Uniform between -1 / sqrt(inputs) and 1 / sqrt(inputs).
    assert abs(weights).max() <= 1 / 20
    np.testing.assert_allclose(weights.std(), 1 / 20 / np.sqrt(3), rtol=0.03)
    assert abs(weights.mean()) < 1e-3


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


def test_one_stream_gives_other_weights_each_time() -> None:
    network, numbers = generator(), stream()
    reinitialize(network, numbers)
    first = network.project.weight.detach().clone()
    reinitialize(network, numbers)
    assert not torch.isclose(network.project.weight, first).any()


def test_the_global_generator_stays_where_it_was() -> None:
    network = generator()
    before = torch.get_rng_state()
    reinitialize(network, stream())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_part_begins_again_by_itself() -> None:
    network = trained(generator())
    before = copy.deepcopy(network.state_dict())
    reinitialize(network.project, stream())
    changed = [
        name for name, value in network.state_dict().items()
        if not torch.equal(value, before[name])
    ]
    assert changed == ['project.weight', 'project.bias']


def test_layers_of_a_spectral_norm_begin_again_too() -> None:
    # Their weight is computed; what is learned is kept elsewhere.
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
            # Random, not a multiple of what was there.
            assert original.unique().numel() > 1
    # They are trained on.
    network(torch.randn(4, 6)).sum().backward()
    assert layer.parametrizations.weight.original.grad is not None


def test_a_spectral_norm_of_any_layer_is_kept() -> None:
    network = nn.Sequential(spectral_norm(nn.Linear(6, 5)))
    reinitialize(network, stream())
    for _ in range(100):
        network(torch.randn(2, 6))
    largest = np.linalg.svd(
        network.eval()[0].weight.detach().numpy(), compute_uv=False)[0]
    np.testing.assert_allclose(largest, 1, rtol=1e-3)
