"""The autoencoder against its definition in NumPy."""
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tadfkd.generators import VariationalAutoencoder
from tadfkd.registry import MODELS


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(size: object = 8, channels: int = 1) -> VariationalAutoencoder:
    return MODELS.build(
        dict(
            type='VariationalAutoencoder',
            width=3,
            decoder=dict(
                type='UpsamplingGenerator',
                latent_size=5,
                image_size=size,
                image_channels=channels,
                width=2)))


def encoded(network: VariationalAutoencoder,
            images_BCHW: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean and log variance, which lie side by side."""
    with torch.no_grad():
        both = network.encoder(2 * images_BCHW - 1).double().numpy()
    return both[:, :5], both[:, 5:]


def test_a_latent_is_drawn_from_what_the_encoder_says() -> None:
    network = build().eval()
    seen = []
    network.decoder.project.register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].detach()))
    nn.init.normal_(network.encoder[-1].bias)
    images_BCHW = torch.rand(6, 1, 8, 8)
    mean, log_variance = encoded(network, images_BCHW)
    draws = 400
    network(images_BCHW.repeat(draws, 1, 1, 1), stream())
    latents = seen[0].double().numpy().reshape(draws, 6, 5)
    deviation = np.exp(log_variance / 2)
    # Four standard errors of the mean, and as many of the deviation.
    assert (np.abs(latents.mean(0) - mean)
            < 4 * deviation / np.sqrt(draws)).all()
    assert (np.abs(latents.std(0) / deviation - 1)
            < 4 / np.sqrt(2 * draws)).all()


def test_the_divergence_is_that_of_normal_distributions() -> None:
    network = build().eval()
    nn.init.normal_(network.encoder[-1].bias)
    images_BCHW = torch.rand(6, 1, 8, 8)
    mean, log_variance = encoded(network, images_BCHW)
    # torch knows the two distributions, and how far apart they are.
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(
            torch.from_numpy(mean),
            torch.from_numpy(np.exp(log_variance / 2))),
        torch.distributions.Normal(0.0, 1.0)).sum(1).mean()
    found = network(images_BCHW, stream()).divergence
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    # N(0, 1) itself is at no distance.
    nn.init.zeros_(network.encoder[-1].weight)
    nn.init.zeros_(network.encoder[-1].bias)
    assert network(images_BCHW, stream()).divergence == 0
