"""Compile networks by ``torch.compile``."""
import torch
from torch import nn

from tadfkd.errors import UserError

#: Modes of torch.compile with CUDA graphs. A later call of the network
#: overwrites its outputs, but the algorithms keep images for several calls.
_CUDA_GRAPHS = ('reduce-overhead', 'max-autotune')


def compile_in_place(arguments: bool | dict, *networks:
                     nn.Module | None) -> None:
    """Compile forward and backward passes of networks at their first calls.

    The modules are compiled in place, so that the names of weights stay.
    Copies of the networks are not compiled. Forward passes within
    :func:`~tadfkd.networks.capture.capture` run eagerly. torch does not
    compile TorchScript, so such networks stay as they are.

    Args:
        arguments: Arguments of ``torch.compile``, or True for its defaults.
        networks: The networks; None is skipped.

    Raises:
        UserError: If the mode uses CUDA graphs and there is a GPU.
    """
    if not isinstance(arguments, dict):
        arguments = {}
    mode = arguments.get('mode')
    if mode in _CUDA_GRAPHS and torch.cuda.is_available():
        raise UserError(f'mode {mode!r} of torch.compile uses CUDA graphs, '
                        'which overwrite images that are still needed: set '
                        "model.compile.mode to 'default' or "
                        "'max-autotune-no-cudagraphs'")
    for network in networks:
        if network is not None and not isinstance(network,
                                                  torch.jit.ScriptModule):
            network.compile(**arguments)
