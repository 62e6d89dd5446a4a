"""Random numbers that depend on seed, purpose and rank, and nothing else."""
from pathlib import Path

import pytest
import torch

from tadfkd.utils.randomness import RandomStreams

CPU = torch.device('cpu')


def draw(streams: RandomStreams, purpose: str, count: int = 5) -> list[float]:
    return torch.rand(
        count, generator=streams.get(purpose, CPU),
        dtype=torch.float64).tolist()


def test_a_stream_goes_on_where_it_stopped() -> None:
    one, other = RandomStreams(7), RandomStreams(7)
    assert draw(one, 'latents', 3) + draw(one, 'latents', 4) \
        == draw(other, 'latents', 7)


def test_purposes_do_not_disturb_each_other() -> None:
    alone, together = RandomStreams(7), RandomStreams(7)
    expected = draw(alone, 'latents', 10)
    found = []
    for count in (1, 4, 5):
        draw(together, 'augmentation', 3)
        found += draw(together, 'latents', count)
    assert found == expected


def test_the_global_generators_play_no_part() -> None:
    expected = draw(RandomStreams(7), 'latents')
    torch.manual_seed(123)
    before = torch.get_rng_state()
    assert draw(RandomStreams(7), 'latents') == expected
    assert torch.equal(torch.get_rng_state(), before)


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


def test_a_fresh_stream_does_not_move_the_owned_one() -> None:
    one, other = RandomStreams(7), RandomStreams(7)
    draw(one, 'latents')
    torch.rand(9, generator=one.fresh('latents', CPU))
    draw(other, 'latents')
    assert draw(one, 'latents') == draw(other, 'latents')


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


def test_a_state_is_a_snapshot_that_later_draws_do_not_move() -> None:
    streams = RandomStreams(7)
    draw(streams, 'latents')
    state = streams.state_dict()
    expected = draw(streams, 'latents')
    for _ in range(2):
        streams.load_state_dict(state)
        assert draw(streams, 'latents') == expected


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


def test_restoring_forgets_streams_that_the_state_does_not_have() -> None:
    streams = RandomStreams(7)
    state = streams.state_dict()
    expected = draw(streams, 'latents')
    streams.load_state_dict(state)
    assert draw(streams, 'latents') == expected


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


def test_a_shared_stream_is_that_of_no_single_rank() -> None:
    draws = [
        torch.rand(
            5,
            generator=RandomStreams(seed, rank).fresh('noise', CPU, shared),
            dtype=torch.float64)
        for seed, rank, shared in ((7, 0, True), (7, 0, False), (7, 1, False),
                                   (8, 0, True))
    ]
    assert len({tuple(numbers.tolist()) for numbers in draws}) == 4


def test_a_shared_stream_is_restored_by_every_rank(tmp_path: Path) -> None:
    first = RandomStreams(7, 0)
    torch.rand(13, generator=first.get('noise', CPU, shared=True))
    # Rank 0 alone writes the checkpoint.
    torch.save(first.state_dict(), tmp_path / 'streams.pth')
    expected = torch.rand(5, generator=first.get('noise', CPU, shared=True))
    for rank in (0, 1):
        restored = RandomStreams(7, rank)
        restored.load_state_dict(
            torch.load(tmp_path / 'streams.pth', weights_only=True))
        found = torch.rand(
            5, generator=restored.get('noise', CPU, shared=True))
        assert torch.equal(found, expected)
