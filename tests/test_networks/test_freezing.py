"""Networks are frozen within a block and restored after it."""
import pytest
import torch
from torch import nn

from tadfkd.networks.freezing import frozen


def network() -> nn.Sequential:
    """Batch norm in eval mode inside a training network, one frozen layer."""
    net = nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5),
        nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), nn.Linear(4, 2))
    net[1].eval()
    net[3].eval()
    net[3][1].train()
    net[0].requires_grad_(False)
    net[3][0].bias.requires_grad_(False)
    return net


def state(net: nn.Module) -> tuple[list[bool], list[bool]]:
    return ([parameter.requires_grad for parameter in net.parameters()],
            [module.training for module in net.modules()])


def test_modes_and_gradients_are_restored_after_an_exception_too() -> None:
    net = network()
    before = state(net)
    assert len(set(before[0])) == len(set(before[1])) == 2
    with pytest.raises(ZeroDivisionError), frozen(net):
        gradients, modes = state(net)
        assert not any(gradients) and not any(modes)
        raise ZeroDivisionError
    assert state(net) == before


def test_gradients_flow_through_but_not_into_frozen_modules() -> None:
    net = network()
    inputs_BF = torch.randn(6, 3, requires_grad=True)
    with frozen(net):
        net(inputs_BF).square().sum().backward()
    assert inputs_BF.grad is not None and inputs_BF.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in net.parameters())


def test_batch_norm_statistics_do_not_move() -> None:
    net = network().train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with frozen(net):
        net(torch.randn(6, 3))
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[key]), key
    # The same forward moves them outside of the block.
    net(torch.randn(6, 3))
    assert not torch.equal(net[1].running_mean, before['1.running_mean'])
