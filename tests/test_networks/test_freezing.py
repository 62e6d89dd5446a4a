"""Networks are frozen within a block and restored after it."""
import pytest
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
