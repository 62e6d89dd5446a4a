"""Starting several processes, also where there is no GPU."""
import torch
import torch.distributed

from tadfkd.utils.errors import UserError

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


def join_process_group(launcher: str) -> None:
    """Join the processes of a launch on CPU by gloo.

    mmengine's Runner joins by nccl, and sets CUDA devices whatever the
    back end; it leaves a group alone that is there already.

    Args:
        launcher: As in ``--launcher``.

    Raises:
        UserError: If the launcher cannot be used without a GPU.
    """
    if launcher == 'none' or torch.cuda.is_available():
        return
    if launcher != 'pytorch':
        raise UserError(f'--launcher {launcher} needs a GPU in each process '
                        'and this machine shows none: use '
                        'tools/dist_train.sh, which runs on CPU too')
    torch.distributed.init_process_group('gloo')
