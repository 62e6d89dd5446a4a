"""Starting several processes, on GPUs or on CPU."""
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed
from mmengine.dist import init_dist, is_distributed

from tadfkd.engine.cores import keep_to_own_cores
from tadfkd.errors import Interrupted, UserError, require_at_least

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
        dist_cfg: The config's ``env_cfg.dist_cfg``: the back end on GPUs (on
            CPU it is gloo), and ``timeout``, the seconds after which a
            process that waits for another one gives up.

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
    if launcher == 'slurm' and 'SLURM_PROCID' not in os.environ:
        raise UserError('--launcher slurm was given to a process that srun '
                        'did not start: use tools/slurm_train.sh')
    dist_cfg = dict(dist_cfg or {})
    timeout = dist_cfg.setdefault('timeout', 600)
    require_at_least('env_cfg.dist_cfg', 'timeout', timeout, 1)
    if torch.cuda.is_available():
        init_dist(launcher, **dist_cfg)
        if launcher == 'mpi':
            # mmengine's Runner reads it.
            os.environ['LOCAL_RANK'] = os.environ['OMPI_COMM_WORLD_LOCAL_RANK']
    elif launcher == 'mpi':
        raise UserError('--launcher mpi needs a GPU in each process and this '
                        'machine shows none: use tools/dist_train.sh, which '
                        'runs on CPU too')
    else:
        if launcher == 'slurm':
            _take_over_slurm()
        elif 'LOCAL_WORLD_SIZE' in os.environ:
            # By torchrun; Slurm binds its tasks itself.
            keep_to_own_cores(
                int(os.environ['LOCAL_RANK']),
                int(os.environ['LOCAL_WORLD_SIZE']))
        torch.distributed.init_process_group(
            'gloo', timeout=timedelta(seconds=timeout))
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


def _take_over_slurm() -> None:
    """Set what torch reads to what Slurm has set, as mmengine does where
    there are GPUs."""
    environment = os.environ
    if 'MASTER_ADDR' not in environment:
        nodes = environment['SLURM_NODELIST']
        environment['MASTER_ADDR'] = subprocess.run(
            ['scontrol', 'show', 'hostnames', nodes],
            check=True,
            capture_output=True,
            text=True).stdout.split()[0]
    environment.setdefault('MASTER_PORT', '29500')
    for name, source in dict(
            RANK='SLURM_PROCID',
            WORLD_SIZE='SLURM_NTASKS',
            LOCAL_RANK='SLURM_LOCALID').items():
        environment[name] = environment[source]
