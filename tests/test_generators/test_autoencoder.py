"""The autoencoder against its definition in NumPy."""
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tadfkd.errors import UserError
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


@pytest.mark.parametrize('size, channels', [(8, 1), (28, 1), ((12, 20), 3)])
def test_images_come_back_in_their_size_and_in_0_and_1(size: object,
                                                       channels: int) -> None:
    network = build(size, channels)
    height, width = network.decoder.image_size
    images_BCHW = torch.rand(4, channels, height, width)
    made = network(images_BCHW, stream())
    assert made.images_BCHW.shape == images_BCHW.shape
    assert made.images_BCHW.min() >= 0 and made.images_BCHW.max() <= 1
    assert made.divergence.shape == () and made.divergence >= 0


def test_the_encoder_halves_twice_with_two_strided_convolutions() -> None:
    convolutions = [
        layer for layer in build().encoder if isinstance(layer, nn.Conv2d)
    ]
    assert [layer.stride for layer in convolutions] == [(2, 2), (2, 2)]
    assert [layer.out_channels for layer in convolutions] == [3, 6]
    linear = build((12, 20)).encoder[-1]
    assert isinstance(linear, nn.Linear)
    assert linear.in_features == 6 * 3 * 5 and linear.out_features == 2 * 5


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


def test_the_stream_alone_decides() -> None:
    network = build().eval()
    images_BCHW = torch.rand(4, 1, 8, 8)
    before = torch.get_rng_state()
    one = network(images_BCHW, stream()).images_BCHW
    recalled = network.recall(4, stream())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(network(images_BCHW, stream()).images_BCHW, one)
    assert not torch.equal(network(images_BCHW, stream(1)).images_BCHW, one)
    assert torch.equal(network.recall(4, stream()), recalled)
    assert torch.equal(recalled,
                       network.decoder(torch.randn(4, 5, generator=stream())))


def test_gradients_reach_every_parameter_and_the_images() -> None:
    network = build()
    images_BCHW = torch.rand(6, 1, 8, 8, requires_grad=True)
    made = network(images_BCHW, stream())
    weights_BCHW = torch.randn(made.images_BCHW.shape)
    (made.images_BCHW * weights_BCHW).sum().backward()
    assert images_BCHW.grad is not None and images_BCHW.grad.any()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    # Through the mean and through the deviation of the latent.
    gradient = network.encoder[-1].weight.grad
    assert gradient[:5].any() and gradient[5:].any()


def test_a_width_of_no_channels_is_refused() -> None:
    with pytest.raises(UserError, match='VariationalAutoencoder.width'):
        VariationalAutoencoder(
            dict(type='UpsamplingGenerator', latent_size=4, image_size=8),
            width=0)
