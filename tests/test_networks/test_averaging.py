"""The moving average of weights and buffers."""
import torch
from torch import nn

from tadfkd.networks.averaging import AveragedNetwork


def test_weights_and_statistics_are_averaged_and_counts_taken_over() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    average = AveragedNetwork(network)
    expected = {
        name: value.double().clone()
        for name, value in network.state_dict().items()
    }
    for momentum in (1.0, 0.5, 0.1):
        with torch.no_grad():
            for weight in network.parameters():
                weight += torch.randn_like(weight)
        network(torch.randn(8, 3))
        average.update(network, momentum)
        for name, value in network.state_dict().items():
            share = momentum if value.is_floating_point() else 1.0
            expected[name] += share * (value - expected[name])
    for name, value in average.module.state_dict().items():
        torch.testing.assert_close(value.double(), expected[name])
    assert average.module[1].num_batches_tracked == 3


def test_it_stays_in_eval_mode_and_is_not_trained() -> None:
    parent = nn.ModuleList([AveragedNetwork(nn.BatchNorm1d(3))]).train()
    assert not any(child.training for child in parent[0].modules())
    assert not any(weight.requires_grad for weight in parent.parameters())
