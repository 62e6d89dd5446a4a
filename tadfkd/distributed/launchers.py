"""Launchers: how a process joins the other processes of a run."""
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed
from mmengine.dist import init_dist, is_distributed

from tadfkd.errors import Interrupted, UserError, require_at_least


@contextmanager
def process_group(launcher: str,
                  dist_cfg: dict | None = None) -> Iterator[None]:
    """Join the process group of a launch, and leave it after the block.

    mmengine's Runner joins too late (after the model is built), sets CUDA
    devices even on machines without any, and never leaves. A thread of the
    group that outlives the interpreter would abort the process. The Runner
    uses a group that exists already.

    Args:
        launcher: As in ``--launcher``.
        dist_cfg: The config's ``env_cfg.dist_cfg``: the ``backend`` on GPUs
            (on CPU it is gloo), and ``timeout``, the seconds, >= 1, after
            which a process stops waiting for another one.

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
            # mmengine's Runner reads LOCAL_RANK.
            os.environ['LOCAL_RANK'] = os.environ['OMPI_COMM_WORLD_LOCAL_RANK']
    elif launcher == 'mpi':
        raise UserError('--launcher mpi needs a GPU in each process and this '
                        'machine shows none: use tools/dist_train.sh, which '
                        'runs on CPU too')
    else:
        if launcher == 'slurm':
            _take_over_slurm()
        torch.distributed.init_process_group(
            'gloo', timeout=timedelta(seconds=timeout))
    # After other exceptions this process leaves without the barrier, because
    # the others may wait in another collective. A stop request reaches all
    # processes at the same place.
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
    """Translate Slurm's environment variables to those of torch.

    mmengine does the same, but only where there are GPUs.
    """
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
