"""What is recalled, and what the autoencoder learns, against NumPy."""
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_networks import convolutional
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.memory import BufferReplay, GenerativeReplay
from tadfkd.registry import MODELS
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


def build(**config: object) -> BufferReplay | GenerativeReplay:
    return MODELS.build(config)


def test_there_is_nothing_to_recall_at_first() -> None:
    replay = build(type='BufferReplay', num_batches=2, batch_size=3)
    assert replay.recall(4, stream()) is None


@pytest.mark.parametrize('interval, expected', [
    (1, [16, 17, 18, 20, 21, 22]),
    (3, [0, 1, 2, 12, 13, 14]),
    (9, [0, 1, 2]),
])
def test_every_so_many_steps_the_start_of_a_batch_is_kept(
        interval: int, expected: list[int]) -> None:
    replay = build(
        type='BufferReplay', num_batches=2, batch_size=3, interval=interval)
    for step in range(6):
        replay.observe(numbered(4 * step, 4 * step + 4))
    drawn = ids(replay.recall(400, stream()))
    assert sorted(set(drawn)) == expected
    assert min(drawn.count(number) for number in expected) > 30


def test_the_stream_alone_decides_on_what_is_recalled() -> None:
    replay = BufferReplay(2, 30)
    replay.observe(numbered(0, 30))
    one = replay.recall(20, stream())
    torch.rand(3)
    assert torch.equal(replay.recall(20, stream()), one)
    assert not torch.equal(replay.recall(20, stream(1)), one)


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
    # A buffer is no network: nothing of it is trained or in the weights.
    assert [*replay.parameters()] == [] and replay.state_dict() == {}


@pytest.mark.parametrize('field', ['num_batches', 'batch_size', 'interval'])
@pytest.mark.parametrize('value', [0, 1.5])
def test_counts_of_a_buffer_are_checked_by_name(field: str,
                                                value: float) -> None:
    with pytest.raises(
            UserError, match=f'{field} must be .*set model.replay.{field}'):
        BufferReplay(**{field: value})


@pytest.fixture
def teacher() -> BaseTeacher:
    """Two convolutions, of images of 12 pixels."""
    return BaseTeacher(
        convolutional(), {}, input_size=12, mean=[127.5] * 3, std=[64.0] * 3)


def test_the_autoencoder_minimises_the_papers_sum(
        teacher: BaseTeacher) -> None:
    replay = build(type='GenerativeReplay', autoencoder=AUTOENCODER).eval()
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


def test_each_term_trains_the_autoencoder_and_no_teacher(
        teacher: BaseTeacher) -> None:
    replay = GenerativeReplay(AUTOENCODER, divergence_weight=2.0)
    before = {
        name: value.clone()
        for name, value in teacher.state_dict().items()
    }
    losses = replay(
        torch.rand(5, 3, 12, 12), torch.randn(5, 5), teacher, stream())
    for name, part in (('images', replay.autoencoder), ('logits',
                                                        replay.autoencoder),
                       ('divergence', replay.autoencoder.encoder)):
        gradients = torch.autograd.grad(
            losses[name], [*part.parameters()], retain_graph=True)
        assert all(gradient.isfinite().all() for gradient in gradients), name
        assert any(gradient.any() for gradient in gradients), name
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_without_a_weight_the_divergence_does_not_count(
        teacher: BaseTeacher) -> None:
    replay = GenerativeReplay(AUTOENCODER, divergence_weight=0.0)
    losses = replay(
        torch.rand(5, 3, 12, 12), torch.randn(5, 5), teacher, stream())
    assert losses['divergence'] == 0
    with pytest.raises(UserError, match='set model.replay.divergence_weight'):
        GenerativeReplay(AUTOENCODER, divergence_weight=-1.0)


def test_what_is_generated_is_recalled_without_a_graph() -> None:
    replay = GenerativeReplay(AUTOENCODER).eval()
    images_BCHW = replay.recall(6, stream())
    assert images_BCHW.shape == (6, 3, 12, 12)
    assert not images_BCHW.requires_grad
    with torch.no_grad():
        expected_BCHW = replay.autoencoder.decoder(
            torch.randn(6, 4, generator=stream()))
    assert torch.equal(images_BCHW, expected_BCHW)
    assert replay.training_state() == {}
