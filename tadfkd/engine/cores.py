"""Where the processes of one machine run."""
import os
from contextlib import suppress


def keep_to_own_cores(rank: int, num_processes: int) -> None:
    """Give this process its share of the machine's cores, and the calling
    thread and those it starts from now on the batch policy.

    Processes that exchange something hundreds of times a second wait for each
    other's threads to be scheduled. On a core of their own and with
    ``SCHED_BATCH``, by which a thread that wakes up does not push out one
    that computes, an exchange takes a fifth of the time (two cores, Linux
    6.18, gloo).

    A process that something else has bound to cores already, or given a
    policy, keeps them, and none is bound if there are more processes than
    cores. Does nothing except on Linux, or where it is not allowed to.

    Args:
        rank: Of this process among those of the machine.
        num_processes: Of the machine.
    """
    if not hasattr(os, 'SCHED_BATCH'):
        return
    # Containers may forbid either.
    with suppress(OSError):
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with suppress(OSError):
        cores = sorted(os.sched_getaffinity(0))
        if rank < num_processes <= len(cores) == os.cpu_count():
            first = rank * len(cores) // num_processes
            end = (rank + 1) * len(cores) // num_processes
            os.sched_setaffinity(0, cores[first:end])
