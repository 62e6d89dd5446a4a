"""Starting several processes, on GPUs or on CPU."""
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed
from mmengine.dist import init_dist, is_distributed

from tadfkd.utils.errors import Interrupted, UserError

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


@contextmanager
def process_group(launcher: str,
                  dist_cfg: dict | None = None) -> Iterator[None]:
    """Within the block, this is one of the processes of a launch.

    mmengine's Runner would join them too, but only after the model has been
    built, and it sets CUDA devices also where there are none; it leaves a
    group alone that is there already. And it never leaves: a thread of the
    group that outlives the interpreter aborts the process.

    Args:
        launcher: As in ``--launcher``.
        dist_cfg: The config's ``env_cfg.dist_cfg``, for GPUs; on CPU the
            back end is gloo.

    Raises:
        UserError: If the launcher cannot be used without a GPU, or the
            process was not started by it.
    """
    if launcher == 'none' or is_distributed():
        yield
        return
    if launcher == 'pytorch' and 'RANK' not in os.environ:
        raise UserError('--launcher pytorch was given to a process that '
                        'torchrun did not start: use tools/dist_train.sh')
    if torch.cuda.is_available():
        init_dist(launcher, **(dist_cfg or {}))
    elif launcher == 'pytorch':
        torch.distributed.init_process_group('gloo')
    else:
        raise UserError(f'--launcher {launcher} needs a GPU in each process '
                        'and this machine shows none: use '
                        'tools/dist_train.sh, which runs on CPU too')
    # Not after another exception: the others may be waiting for something
    # else. When a run is interrupted, all are.
    interruption = None
    try:
        yield
    except Interrupted as error:
        interruption = error
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    if interruption is not None:
        raise interruption
