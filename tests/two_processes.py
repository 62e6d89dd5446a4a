"""Running a function in two processes that exchange tensors."""
import multiprocessing
import os
import runpy
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from mmengine.dist import all_gather_object
from tool_processes import PRELOADED
from torch import Tensor, distributed


def in_two_processes(function: Callable[..., Any], *arguments:
                     object) -> list[Any]:
    """Call a function of a test module in two processes of one group.

    Each process is new, and has the seed 0 and one thread.

    Args:
        function: It returns plain values and tensors.
        *arguments: Of the function, the same in both processes.

    Returns:
        The result of each process, in the order of ranks. The first failure
        in one of them is raised.
    """
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(PRELOADED)
    with TemporaryDirectory() as folder:
        with ProcessPoolExecutor(2, context) as pool:
            # By its file: the name that pytest gives the test module is not
            # importable in another process.
            calls = [
                pool.submit(_call_in_group, rank, folder,
                            function.__code__.co_filename, function.__name__,
                            arguments) for rank in (0, 1)
            ]
            for call in as_completed(calls):
                call.result()
        return [
            torch.load(Path(folder, f'{rank}.pth'), weights_only=True)
            for rank in (0, 1)
        ]


def _call_in_group(rank: int, folder: str, file: str, name: str,
                   arguments: tuple[object, ...]) -> None:
    function = runpy.run_path(file)[name]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2')
    distributed.init_process_group(
        'gloo',
        init_method=f'file://{folder}/store',
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60))
    try:
        torch.save(function(*arguments), Path(folder, f'{rank}.pth'))
        distributed.barrier()
    finally:
        # After a failure this ends the waiting of the other process.
        distributed.destroy_process_group()


def assert_equal_in_both(values: dict[str, Tensor]) -> None:
    """Bit for bit; called in both processes."""
    first, second = all_gather_object(values)
    assert first.keys() == second.keys()
    different = [key for key in first if not first[key].equal(second[key])]
    assert different == []
