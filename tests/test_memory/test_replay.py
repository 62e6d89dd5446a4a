"""What is recalled, and what the autoencoder learns, against NumPy."""

import pytest
import torch
from algorithm_helpers import assert_unchanged, has_gradient, snapshot
from torch import Tensor

from tadfkd.memory import BufferReplay, GenerativeReplay

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


def brightness(images_BCHW: Tensor) -> Tensor:
    """A judge that likes dark images."""
    return images_BCHW.square().mean()


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
    assert replay.recall(4, stream(), brightness) is None
    for step in range(6):
        replay.observe(numbered(4 * step, 4 * step + 4))
    drawn = ids(replay.recall(400, stream(), brightness))
    assert sorted(set(drawn)) == expected
    assert min(drawn.count(number) for number in expected) > 30


def test_what_is_generated_is_recalled_in_eval_mode_without_a_graph() -> None:
    replay = GenerativeReplay(AUTOENCODER, 1.0, latent_lr=0.0)
    before = snapshot(replay)
    images_BCHW = replay.recall(6, stream(), brightness)
    assert images_BCHW.shape == (6, 3, 12, 12)
    assert not images_BCHW.requires_grad
    # The statistics of batch norm stay, and so do the modes.
    assert_unchanged(replay, before)
    assert all(module.training for module in replay.modules())
    with torch.no_grad():
        expected_BCHW = replay.eval().autoencoder.decoder(
            torch.randn(6, 4, generator=stream()))
    assert torch.equal(images_BCHW, expected_BCHW)
    assert replay.training_state() == {}


@pytest.mark.parametrize('weight', [0.0, 0.3, 1e4])
def test_latents_take_one_step_of_adam(weight: float) -> None:
    # With weight 0.3 the judge decides some signs, and the moments others.
    replay = GenerativeReplay(AUTOENCODER, 1.0, latent_lr=0.3)
    images_BCHW = replay.recall(6, stream(),
                                lambda images: weight * brightness(images))
    assert not has_gradient(replay)
    decoder = replay.eval().autoencoder.decoder
    latents_BZ = torch.randn(6, 4, generator=stream()).requires_grad_()
    optimizer = torch.optim.Adam([latents_BZ], lr=0.3)
    loss = weight * brightness(decoder(latents_BZ))
    for dimension_B in latents_BZ.unbind(1):
        loss = loss + (dimension_B.var() -
                       1)**2 / 4 + dimension_B.mean()**2 / 4
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        expected_BCHW = decoder(latents_BZ)
    torch.testing.assert_close(images_BCHW, expected_BCHW)
