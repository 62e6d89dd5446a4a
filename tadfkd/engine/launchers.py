"""Starting several processes, on GPUs or on CPU."""
import os

import torch
import torch.distributed
from mmengine.dist import init_dist, is_distributed

from tadfkd.utils.errors import UserError

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


def join_process_group(launcher: str, dist_cfg: dict | None = None) -> None:
    """Join the other processes of a launch, before anything asks for a rank.

    mmengine's Runner would do so, but only after the model has been built;
    and it sets CUDA devices also where there are none. It leaves a group
    alone that is there already.

    Args:
        launcher: As in ``--launcher``.
        dist_cfg: The config's ``env_cfg.dist_cfg``, for GPUs; on CPU the
            back end is gloo.

    Raises:
        UserError: If the launcher cannot be used without a GPU, or the
            process was not started by it.
    """
    if launcher == 'none' or is_distributed():
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
