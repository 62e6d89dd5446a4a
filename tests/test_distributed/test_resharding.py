"""Going on with another number of processes."""
from typing import Any

import pytest
import torch
from algorithm_helpers import (ALGORITHMS, make_algorithm, optimisers,
                               real_batch)

from tadfkd.distributed.resharding import reshard_states
from tadfkd.memory import ImagePool, RingBuffer
from tadfkd.utils.randomness import RandomStreams


def buffer_of(*rows: float, capacity: int = 4) -> dict:
    """The state of a buffer to which the rows were added."""
    buffer = RingBuffer(capacity)
    for row in rows:
        buffer.add(torch.tensor([[row]]))
    return buffer.state_dict()


def state_of(pool: dict, images: int = 0, **more: Any) -> dict:
    return dict(
        counters=dict(
            student_steps=3, images_generated=images, images_selected=1),
        seed=5,
        branch='',
        streams=dict(latents=torch.zeros(2)),
        queue=dict(images_BCHW=torch.zeros(2)),
        pool=pool) | more


def rows_in(state: dict, capacity: int = 4) -> list[float]:
    buffer = RingBuffer(capacity)
    buffer.load_state_dict(state)
    return buffer.rows().flatten().tolist() if len(buffer) else []


def test_two_pools_become_one_of_the_newest() -> None:
    # The first has lost its oldest, 10; in rank order within an age.
    states = [
        state_of(buffer_of(10, 11, 12, 13, 14)),
        state_of(buffer_of(20, 21, 22))
    ]
    state = reshard_states(states, 0, 1, iteration=7)
    assert rows_in(state['pool']) == [21, 13, 22, 14]
    assert rows_in(state['pool'], capacity=9) == [11, 20, 12, 21, 13, 22, 14]


def test_a_pool_is_dealt_out() -> None:
    states = [state_of(buffer_of(1, 2, 3))]
    dealt = [
        rows_in(reshard_states(states, rank, 2, 7)['pool']) for rank in (0, 1)
    ]
    assert dealt == [[1, 3], [2]]
    assert rows_in(reshard_states([state_of({})], 1, 2, 7)['pool']) == []


def test_counts_go_on_and_waiting_samples_do_not() -> None:
    states = [state_of({}, images=10), state_of({}, images=30)]
    state = reshard_states(states, 0, 1, 7)
    assert state['counters'] == dict(
        student_steps=3, images_generated=40, images_selected=2)
    assert state['queue'] == state['streams'] == {}
    later = reshard_states(states, 2, 3, 7)
    assert later['counters'] == dict(
        student_steps=3, images_generated=0, images_selected=0)


def test_streams_begin_anew_alike_each_time() -> None:

    def numbers(branch: str) -> list[float]:
        streams = RandomStreams(5)
        streams.branch = branch
        return torch.rand(3, generator=streams.get('latents')).tolist()

    branch = reshard_states([state_of({})] * 2, 0, 1, 7)['branch']
    assert numbers(branch) == numbers(branch) != numbers('')
    assert branch != reshard_states([state_of({})] * 2, 0, 1, 8)['branch']
    # What is always drawn from the same numbers goes on being so.
    streams = RandomStreams(5)
    before = torch.rand(3, generator=streams.fresh('held_out'))
    streams.branch = branch
    assert torch.rand(3, generator=streams.fresh('held_out')).equal(before)


@pytest.mark.parametrize('type', ALGORITHMS)
def test_every_algorithm_goes_on(type: str) -> None:
    torch.manual_seed(0)
    model = make_algorithm(type)
    wrappers = optimisers(model)
    for _ in range(2):
        model.train_step(real_batch(), wrappers)
    states = [model.training_state()] * 3
    other = make_algorithm(type)
    other.load_state_dict(model.state_dict())
    other.load_training_state(reshard_states(states, 0, 1, 2))
    for _ in range(2):
        losses = other.train_step(real_batch(), optimisers(other))
    assert all(value.isfinite() for value in losses.values())
    assert other.counters.student_steps == 2 * model.counters.student_steps


def test_a_pool_of_bytes_holds_the_same_images() -> None:
    pools = [ImagePool(capacity=4, dtype='uint8') for _ in range(3)]
    images_BCHW = torch.rand(4, 1, 2, 2)
    for pool, part in zip(pools, images_BCHW.chunk(2)):
        pool.add(part)
    states = [
        dict(
            counters=dict(images_generated=0, images_selected=0),
            pool=pool.state_dict()) for pool in pools[:2]
    ]
    pools[2].load_state_dict(reshard_states(states, 0, 1, 2)['pool'])
    found = pools[2].sample(4, torch.Generator())
    values = (images_BCHW * 255).round() / 255
    assert all(
        any(image.allclose(value) for value in values) for image in found)
