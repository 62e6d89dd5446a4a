"""Hooks exist within their block only."""
import pytest
import torch
from torch import Tensor, nn

from tadfkd.networks.capture import capture


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def hooks(module: nn.Module) -> int:
    return sum(
        len(child._forward_pre_hooks) + len(child._forward_hooks)
        for child in module.modules())


def test_inputs_are_read_in_the_order_of_the_calls() -> None:
    net, inputs_BF = network(), torch.randn(5, 3)
    # Listed in another order than they run in.
    with capture([net[2], net[0]], lambda module, x: (module, x)) as values:
        assert values == []
        net(inputs_BF)
        assert [module for module, _ in values] == [net[0], net[2]]
        assert values[0][1] is inputs_BF
        torch.testing.assert_close(values[1][1], net[1](net[0](inputs_BF)))


def test_the_hooks_are_gone_after_an_exception_in_the_reader() -> None:
    net = network()

    def read(module: nn.Module, x: Tensor) -> None:
        raise KeyError('from the reader')

    with pytest.raises(KeyError, match='from the reader'), capture(net, read):
        net(torch.randn(5, 3))
    assert hooks(net) == 0
    net(torch.randn(5, 3))
