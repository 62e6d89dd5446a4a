"""What is recalled, and what the autoencoder learns, against NumPy."""
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_networks import convolutional
from torch import Tensor

from tadfkd.memory import BufferReplay, GenerativeReplay
from tadfkd.teachers import BaseTeacher

AUTOENCODER = dict(
    type='VariationalAutoencoder',
    width=3,
    decoder=dict(
        type='UpsamplingGenerator', latent_size=4, image_size=12, width=3))


def numbered(start: int, stop: int) -> Tensor:
    """Image i holds i / 100."""
    numbers = torch.arange(start, stop) / 100
    return numbers[:, None, None, None].repeat(1, 1, 2, 2)


def ids(images_BCHW: Tensor) -> list[int]:
    return (100 * images_BCHW[:, 0, 0, 0]).round().int().tolist()


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize('interval, expected', [
    (1, [16, 17, 18, 20, 21, 22]),
    (3, [0, 1, 2, 12, 13, 14]),
    (9, [0, 1, 2]),
])
def test_every_so_many_steps_the_start_of_a_batch_is_kept(
        interval: int, expected: list[int]) -> None:
    replay = BufferReplay(2, 3, interval)
    assert replay.recall(4, stream()) is None
    for step in range(6):
        replay.observe(numbered(4 * step, 4 * step + 4))
    drawn = ids(replay.recall(400, stream()))
    assert sorted(set(drawn)) == expected
    assert min(drawn.count(number) for number in expected) > 30


def test_a_buffer_goes_on_exactly_after_a_restart(tmp_path: Path) -> None:
    replay, other = (BufferReplay(2, 3, interval=3) for _ in range(2))
    for _ in range(5):
        replay.observe(torch.rand(4, 1, 2, 2))
    other.observe(torch.rand(4, 1, 2, 2))
    torch.save(replay.training_state(), tmp_path / 'replay.pth')
    other.load_training_state(
        torch.load(tmp_path / 'replay.pth', weights_only=True))
    for _ in range(8):
        assert torch.equal(
            other.recall(20, stream()), replay.recall(20, stream()))
        images_BCHW = torch.rand(4, 1, 2, 2)
        replay.observe(images_BCHW)
        other.observe(images_BCHW)


@pytest.fixture
def teacher() -> BaseTeacher:
    """Two convolutions, of images of 12 pixels."""
    return BaseTeacher(
        convolutional(), {}, input_size=12, mean=[127.5] * 3, std=[64.0] * 3)


def test_the_autoencoder_minimises_the_papers_sum(
        teacher: BaseTeacher) -> None:
    replay = GenerativeReplay(AUTOENCODER, divergence_weight=1e-5).eval()
    images_BCHW, logits_BK = torch.rand(5, 3, 12, 12), torch.randn(5, 5)
    losses = replay(images_BCHW, logits_BK, teacher, stream())

    network = replay.autoencoder
    with torch.no_grad():
        encoded = network.encoder(2 * images_BCHW - 1).double().numpy()
        mean, log_variance = encoded[:, :4], encoded[:, 4:]
        noise = torch.randn(5, 4, generator=stream()).numpy()
        latents = mean + np.sqrt(np.exp(log_variance)) * noise
        made_BCHW = network.decoder(torch.from_numpy(latents).float())
        answer = teacher(made_BCHW).logits_BK.numpy()
    expected = dict(
        images=np.abs(made_BCHW.numpy() - images_BCHW.numpy()).mean(),
        logits=np.abs(answer - logits_BK.numpy()).mean(),
        # KL(N(m, s^2) || N(0, 1)) = log(1 / s) + (s^2 + m^2 - 1) / 2.
        divergence=1e-5 * np.mean([
            sum(-v / 2 + (np.exp(v) + m * m - 1) / 2 for m, v in zip(*row))
            for row in zip(mean, log_variance)
        ]))
    assert {
        name: value.item()
        for name, value in losses.items()
    } == pytest.approx(
        expected, rel=1e-4)


def test_what_is_generated_is_recalled_without_a_graph() -> None:
    replay = GenerativeReplay(AUTOENCODER, 1.0).eval()
    images_BCHW = replay.recall(6, stream())
    assert images_BCHW.shape == (6, 3, 12, 12)
    assert not images_BCHW.requires_grad
    with torch.no_grad():
        expected_BCHW = replay.autoencoder.decoder(
            torch.randn(6, 4, generator=stream()))
    assert torch.equal(images_BCHW, expected_BCHW)
    assert replay.training_state() == {}
