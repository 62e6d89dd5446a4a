"""The functional forward passes against modules."""
import torch
from torch import nn

from tadfkd.converters import read_network


def test_it_computes_what_the_source_does(
        public_network: tuple[str, nn.Module]) -> None:
    network = public_network[1].double()
    weights = network.state_dict()
    channels = next(network.parameters()).shape[1]
    images = torch.randn(2, channels, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        found = read_network(weights).reference(weights, images)
        torch.testing.assert_close(found, network(images), rtol=0, atol=1e-9)
