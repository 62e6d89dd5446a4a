"""Networks that go through ``torch.compile``."""
import torch
from torch import nn

from tadfkd.errors import UserError

#: Those in which a network's outputs are gone when the next one is called,
#: and images wait for more than that.
_CUDA_GRAPHS = ('reduce-overhead', 'max-autotune')


def compile_in_place(arguments: bool | dict, *networks:
                     nn.Module | None) -> None:
    """Compile the forward of each, and so its backward, at its first calls.

    In place, so that the names of weights stay. Copies are not compiled, nor
    are forwards within :func:`~tadfkd.networks.capture.capture`. TorchScript,
    which torch does not compile, stays as it is.

    Args:
        arguments: Of ``torch.compile``, or True for its defaults.
        networks: To compile; there is nothing to do for None.

    Raises:
        UserError: If the mode is one that makes CUDA graphs, on a GPU.
    """
    if not isinstance(arguments, dict):
        arguments = {}
    mode = arguments.get('mode')
    if mode in _CUDA_GRAPHS and torch.cuda.is_available():
        raise UserError(f'mode {mode!r} of torch.compile makes CUDA graphs, '
                        'which overwrite images that are still needed: set '
                        "model.compile.mode to 'default' or "
                        "'max-autotune-no-cudagraphs'")
    for network in networks:
        if network is not None and not isinstance(network,
                                                  torch.jit.ScriptModule):
            network.compile(**arguments)
