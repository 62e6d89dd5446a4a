"""Random streams of a run, and the state of the global generators."""
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from tadfkd.checkpoints.reading import read_checkpoint
from tadfkd.errors import UserError
from tadfkd.utils.randomness import (RandomStreams, global_random_state,
                                     set_global_random_state)

CPU = torch.device('cpu')


def draw(streams: RandomStreams, purpose: str, count: int = 5) -> list[float]:
    return torch.rand(
        count, generator=streams.get(purpose, CPU),
        dtype=torch.float64).tolist()


def test_purposes_do_not_disturb_each_other() -> None:
    alone, together = RandomStreams(7), RandomStreams(7)
    expected = draw(alone, 'latents', 10)
    found = []
    for count in (1, 4, 5):
        draw(together, 'augmentation', 3)
        found += draw(together, 'latents', count)
    assert found == expected


def test_seeds_purposes_and_ranks_all_draw_different_numbers() -> None:
    draws = [
        tuple(draw(RandomStreams(seed, rank), purpose))
        for seed in (0, 1, 12, -1, 2**70) for rank in (0, 1, 2)
        for purpose in ('latents', 'augmentation', '')
    ]
    assert len(set(draws)) == len(draws)


def test_the_numbers_are_the_same_in_every_process() -> None:
    # Python's own hash of a string differs from process to process; a
    # checkpoint of one run has to mean the same in the next.
    # This is half of the first 64 bits of SHA-256 of "7/latents/0".
    stream = RandomStreams(7).get('latents', CPU)
    assert stream.initial_seed() == 2741572473240869651


def test_a_fresh_stream_starts_at_its_start_each_time() -> None:
    streams = RandomStreams(7)
    expected = draw(streams, 'samples')
    draw(streams, 'samples')
    for _ in range(2):
        fresh = streams.fresh('samples', CPU)
        assert torch.rand(
            5, generator=fresh, dtype=torch.float64).tolist() == expected


@pytest.mark.parametrize('seed_of_the_next', [7, 8])
def test_a_restored_run_goes_on_exactly(tmp_path: Path,
                                        seed_of_the_next: int) -> None:
    streams = RandomStreams(7)
    draw(streams, 'latents', 13)
    draw(streams, 'augmentation', 2)
    torch.save(streams.state_dict(), tmp_path / 'streams.pth')
    # Where the streams stand counts, not how they began.
    restored = RandomStreams(seed_of_the_next)
    draw(restored, 'latents', 99)
    restored.load_state_dict(
        torch.load(tmp_path / 'streams.pth', weights_only=True))
    for purpose in ('augmentation', 'latents'):
        assert draw(restored, purpose) == draw(streams, purpose)


def test_a_stream_that_was_not_used_since_is_restored_again() -> None:
    # A run that is restored and saved at once must not forget the streams
    # that it has not drawn from yet.
    streams = RandomStreams(7)
    draw(streams, 'latents')
    first = RandomStreams(7)
    first.load_state_dict(streams.state_dict())
    draw(first, 'augmentation')
    second = RandomStreams(7)
    second.load_state_dict(first.state_dict())
    assert draw(second, 'latents') == draw(streams, 'latents')


def test_a_shared_stream_draws_the_same_numbers_in_every_process() -> None:
    ranks = [RandomStreams(7, rank) for rank in range(3)]
    shared = [
        torch.rand(5, generator=streams.get('noise', CPU, shared=True))
        for streams in ranks
    ]
    assert all(torch.equal(numbers, shared[0]) for numbers in shared)
    # They go on together, however much each draws of its own.
    own = [
        draw(streams, 'latents', 1 + 3 * i) for i, streams in enumerate(ranks)
    ]
    assert len({numbers[0] for numbers in own}) == 3
    again = [
        torch.rand(5, generator=streams.get('noise', CPU, shared=True))
        for streams in ranks
    ]
    assert all(torch.equal(numbers, again[0]) for numbers in again)
    assert not torch.equal(again[0], shared[0])


def test_a_position_of_another_kind_of_device_is_a_user_error() -> None:
    streams = RandomStreams(7)
    # A GPU's generator has a state of 16 bytes.
    streams.load_state_dict(dict(latents=torch.zeros(16, dtype=torch.uint8)))
    with pytest.raises(UserError, match='another kind of device than cpu'):
        streams.get('latents')


def draw_globally() -> tuple:
    """From all generators; an odd count, as normal numbers come in pairs."""
    return (random.random(), random.gauss(0, 1), np.random.rand(),
            np.random.randn(3).tolist(), torch.randn(3).tolist())


def test_global_generators_continue_where_they_were(tmp_path: Path) -> None:
    draw_globally()
    torch.save(global_random_state(), tmp_path / 'state.pth')
    expected = [draw_globally(), draw_globally()]
    draw_globally()
    # As checkpoints are read, which runs no code.
    set_global_random_state(read_checkpoint(tmp_path / 'state.pth'))
    assert [draw_globally(), draw_globally()] == expected
