"""The network inside of a wrapper."""
from mmengine.registry import MODEL_WRAPPERS
from torch import nn

from tadfkd.distributed.wrapper import unwrapped


class Wrapper(nn.Module):
    """Holds a network as distributed wrappers do."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


def test_a_plain_network_is_itself() -> None:
    network = nn.Linear(2, 2)
    assert unwrapped(network) is network


def test_a_submodule_of_that_name_does_not_make_a_wrapper() -> None:
    network = Wrapper(nn.Linear(2, 2))
    assert unwrapped(network) is network


def test_a_registered_wrapper_is_taken_off() -> None:
    network = nn.Linear(2, 2)
    MODEL_WRAPPERS.register_module('WrapperOfATest', module=Wrapper)
    try:
        assert unwrapped(Wrapper(network)) is network
    finally:
        del MODEL_WRAPPERS.module_dict['WrapperOfATest']
