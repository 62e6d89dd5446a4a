"""Networks that go through ``torch.compile``."""
import torch
from torch import nn


def compile_in_place(arguments: bool | dict, *networks:
                     nn.Module | None) -> None:
    """Compile the forward of each, and so its backward, at its first calls.

    In place, so that the names of weights stay. Copies are not compiled, nor
    are forwards within :func:`~tadfkd.utils.capture.capture`. TorchScript,
    which torch does not compile, stays as it is.

    Args:
        arguments: Of ``torch.compile``, or True for its defaults.
        networks: To compile; there is nothing to do for None.
    """
    if not isinstance(arguments, dict):
        arguments = {}
    for network in networks:
        if network is not None and not isinstance(network,
                                                  torch.jit.ScriptModule):
            network.compile(**arguments)
