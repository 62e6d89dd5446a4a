"""Batch norm inside of convolutions."""
import copy

import pytest
import torch
from tiny_networks import convolutional
from torch import Tensor, nn

from tadfkd.errors import UserError
from tadfkd.networks.bn_folding import folded


def with_statistics(network: nn.Module) -> nn.Module:
    """The network with batch norms that do something, in eval mode."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.uniform_(layer.weight, 0.5, 2)
            nn.init.normal_(layer.bias)
    return network.eval()


def ask(network: nn.Module, inputs_BCHW: Tensor) -> Tensor:
    """Its answer."""
    return network(inputs_BCHW)


def norms(network: nn.Module) -> int:
    """How many batch norms it has."""
    return sum(isinstance(x, nn.BatchNorm2d) for x in network.modules())


class Shared(nn.Module):
    """A convolution whose output two layers read, and one before no norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 1)
        self.after = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        maps = self.first(inputs_BCHW)
        maps = self.norm(maps) * maps
        return self.head(self.after(self.second(maps).relu()).mean((2, 3)))


def test_the_copy_answers_alike_without_batch_norm() -> None:
    network = with_statistics(convolutional())
    before = copy.deepcopy(network.state_dict())
    copied = folded(network, ask, (3, 12, 12))
    assert norms(copied) == 0 and norms(network) == 2
    inputs_BCHW = torch.randn(4, 3, 12, 12)
    torch.testing.assert_close(
        copied(inputs_BCHW), network(inputs_BCHW), rtol=1e-4, atol=1e-5)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not any(p.requires_grad for p in copied.parameters())


def test_gradients_reach_the_images_through_the_copy() -> None:
    network = with_statistics(convolutional())
    copied = folded(network, ask, (3, 12, 12))
    one = torch.randn(2, 3, 12, 12, requires_grad=True)
    two = one.detach().clone().requires_grad_()
    copied(one).square().sum().backward()
    network(two).square().sum().backward()
    torch.testing.assert_close(one.grad, two.grad, rtol=1e-3, atol=1e-4)


def test_a_convolution_that_others_read_is_refused() -> None:
    with pytest.raises(UserError, match='set model.teacher.fold_bn to False'):
        folded(with_statistics(Shared()), ask, (3, 8, 8))


def test_a_network_without_pairs_is_refused() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with pytest.raises(UserError, match='no batch norm behind'):
        folded(network, ask, (3, 8, 8))


def test_layers_that_run_twice_stay_as_they_are() -> None:
    convolution, norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
    twice = nn.Sequential(convolution, norm, nn.ReLU(), convolution, norm)
    alone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    network = with_statistics(
        nn.Sequential(twice, alone, nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    copied = folded(network, ask, (3, 8, 8))
    assert isinstance(copied[0][1], nn.BatchNorm2d)
    assert isinstance(copied[1][1], nn.Identity)
