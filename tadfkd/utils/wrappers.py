"""Networks and the wrappers that distributed training puts around them."""
from typing import Any

from mmengine.model import is_model_wrapper
from torch import nn


def unwrapped(network: nn.Module) -> Any:
    """The network itself, if it is in a distributed wrapper."""
    return network.module if is_model_wrapper(network) else network
