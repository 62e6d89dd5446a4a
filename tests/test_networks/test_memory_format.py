"""Channels last, except where oneDNN would damage memory."""
import pytest
import torch
from torch import nn

from tadfkd.networks import memory_format
from tadfkd.networks.memory_format import unsafe_layer, use_channels_last


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
    use_channels_last(student=networks[0], generator=networks[1], teacher=None)
    assert are_last(*networks) == [True, True]


# The images of a network with channels last would be in that order too.
def test_one_unsafe_network_keeps_the_order_of_all(
        monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(memory_format, 'print_log',
                        lambda line, logger: lines.append(line))
    networks = shortcut(16), shortcut(4)
    use_channels_last(generator=networks[0], student=networks[1])
    assert 'backward pass of 1 of the student' in lines[0]
    assert are_last(*networks) == [False, False]
