"""Starting several processes."""
from collections.abc import Iterator

import pytest
import torch
import torch.distributed as distributed

from tadfkd.distributed import process_group


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without a GPU."""
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment that torchrun gives to the only process of a run."""
    for name, value in dict(
            RANK='0',
            LOCAL_RANK='0',
            WORLD_SIZE='1',
            SLURM_PROCID='0',
            MASTER_ADDR='127.0.0.1',
            MASTER_PORT='0').items():
        monkeypatch.setenv(name, value)
    yield
    if distributed.is_initialized():
        distributed.destroy_process_group()


def test_torchrun_on_cpu_joins_by_gloo(no_gpu: None,
                                       one_process: None) -> None:
    with process_group('pytorch', dict(timeout=77)):
        assert distributed.get_backend() == 'gloo'
        backend = distributed.group.WORLD._get_backend(torch.device('cpu'))
        assert backend.options._timeout.total_seconds() == 77
        assert distributed.get_world_size() == 1
        # As the tools call each other: the outer one leaves.
        with process_group('pytorch'):
            pass
        assert distributed.is_initialized()
    assert not distributed.is_initialized()
