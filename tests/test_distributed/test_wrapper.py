"""The distributed wrapper, in a group of one process."""
from collections.abc import Iterator

import pytest
from torch import distributed, nn

from tadfkd.algorithms import BaseDFKD
from tadfkd.distributed import DistributedNetworks
from tadfkd.distributed.batch_norm import SynchronizedBatchNorm
from tadfkd.distributed.wrapper import unwrapped


@pytest.fixture
def group() -> Iterator[None]:
    """Of this process alone."""
    distributed.init_process_group(
        'gloo', store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures('group')
@pytest.mark.parametrize('synchronized', [True, False])
def test_batch_norms_of_trained_networks_are_synchronised_on_request(
        tiny_model: BaseDFKD, synchronized: bool) -> None:
    wrapped = DistributedNetworks(
        tiny_model, synchronize_batch_norm=synchronized)
    assert unwrapped(wrapped) is tiny_model
    student = tiny_model.student
    assert isinstance(student, nn.parallel.DistributedDataParallel)
    for network, expected in ((student, synchronized), (tiny_model.teacher,
                                                        False)):
        layers = [
            layer for layer in network.modules()
            if isinstance(layer, nn.BatchNorm2d | SynchronizedBatchNorm)
        ]
        assert layers
        assert all(
            isinstance(layer, SynchronizedBatchNorm) is expected
            for layer in layers)
