"""Going on with another number of processes."""
from typing import Any

import torch


def reshard_states(states: list[dict], rank: int, num_processes: int,
                   iteration: int) -> dict:
    """The state of one process, of those of another number of processes.

    What is stored (pools, banks, replay) is dealt out in turn, the newest
    first, so that each process has old and new samples, up to its capacity.
    What waits for the next student step is left out, and so are the positions
    of the random streams, which begin anew, alike each time. The counts of
    images, of which each process has its own, go on in the first one.

    Args:
        states: Of the processes that saved the checkpoint, as
            ``training_state`` gave them.
        rank: Of the process that goes on.
        num_processes: How many do.
        iteration: Of the checkpoint, >= 0.
    """
    state = _merged(states, rank, num_processes)
    for name in ('images_generated', 'images_selected'):
        state['counters'][name] = 0 if rank > 0 else sum(old['counters'][name]
                                                         for old in states)
    state.update({name: {} for name in state if name.endswith('queue')})
    state['streams'] = {}
    state['branch'] = f'{state.get("branch", "")}/{iteration}/{num_processes}'
    return state


def _merged(parts: list[Any], rank: int, num_processes: int) -> Any:
    """What all processes have is taken from the first, but for rows."""
    first = parts[0]
    if isinstance(first, list):
        return [
            _merged([*items], rank, num_processes) for items in zip(*parts)
        ]
    if not isinstance(first, dict):
        return first
    if any('rows' in part for part in parts):
        return _dealt([part for part in parts if part], rank, num_processes)
    return {
        name:
        _merged([part[name]
                 for part in parts if name in part], rank, num_processes)
        for name in first
    }


def _dealt(buffers: list[dict], rank: int, num_processes: int) -> dict:
    """Every n-th row of the states of ring buffers, the oldest first."""
    rows = torch.cat(
        [buffer['rows'].roll(-buffer['next'], 0) for buffer in buffers])
    ages = torch.cat(
        [torch.arange(len(buffer['rows'])).flip(0) for buffer in buffers])
    mine = ages.argsort(stable=True)[rank::num_processes].flip(0)
    # No next place: the buffer keeps of them what it can.
    return dict(
        rows=rows[mine.to(rows.device)], next=None) if len(mine) else {}
