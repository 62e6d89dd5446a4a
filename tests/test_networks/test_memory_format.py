"""Channels last, except where oneDNN would damage memory."""
import pytest
import torch
from torch import nn

from tadfkd.networks.memory_format import unsafe_layer, use_channels_last
from tadfkd.networks.reinitialize import reinitialize


def shortcut(channels: int, stride: int = 2, kernel: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, channels, 3),
        nn.Conv2d(channels, 5, kernel, stride=stride))


@pytest.mark.parametrize('capability, least', [('AVX2', 8), ('DEFAULT', 8),
                                               ('AVX512', 16)])
def test_a_trained_narrow_shortcut_is_unsafe(monkeypatch: pytest.MonkeyPatch,
                                             capability: str,
                                             least: int) -> None:
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability',
                        lambda: capability)
    monkeypatch.setattr(torch.cpu, 'get_capabilities', dict, raising=False)
    assert unsafe_layer(shortcut(least - 1)) == '1'
    assert unsafe_layer(shortcut(least)) is None
    assert unsafe_layer(shortcut(least - 1, stride=1)) is None
    assert unsafe_layer(shortcut(least - 1, kernel=3)) is None
    assert unsafe_layer(shortcut(least - 1).requires_grad_(False)) is None


def are_last(*networks: nn.Module) -> list[bool]:
    return [
        network[0].weight.is_contiguous(memory_format=torch.channels_last)
        for network in networks
    ]


def test_safe_networks_keep_channels_together() -> None:
    networks = shortcut(16), shortcut(16)
    assert use_channels_last(
        student=networks[0], generator=networks[1], teacher=None) is None
    assert are_last(*networks) == [True, True]


# The images of a network with channels last would be in that order too.
def test_one_unsafe_network_keeps_the_order_of_all() -> None:
    networks = shortcut(16), shortcut(4)
    assert use_channels_last(
        generator=networks[0], student=networks[1]) == '1 of the student'
    assert are_last(*networks) == [False, False]


# ATEN_CPU_CAPABILITY=avx2 changes what torch says, and not what oneDNN does.
def test_the_processor_counts_not_what_torch_is_told(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability',
                        lambda: 'AVX2')
    monkeypatch.setattr(
        torch.cpu,
        'get_capabilities',
        lambda: dict(avx512_f=True),
        raising=False)
    assert unsafe_layer(shortcut(12)) == '1'


def test_initial_weights_do_not_depend_on_the_order_in_memory() -> None:
    drawn = []
    for is_last in False, True:
        network = shortcut(16)
        if is_last:
            use_channels_last(network=network)
        reinitialize(network, torch.Generator().manual_seed(0))
        assert are_last(network) == [is_last]
        drawn.append(network[0].weight)
    assert drawn[0].equal(drawn[1])
