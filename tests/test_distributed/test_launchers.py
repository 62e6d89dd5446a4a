"""Starting several processes."""
import os
from collections.abc import Iterator

import pytest
import torch
import torch.distributed as distributed

from tadfkd.distributed import process_group
from tadfkd.errors import UserError


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


def test_without_a_launcher_there_is_no_group(no_gpu: None,
                                              one_process: None) -> None:
    with process_group('none'):
        assert not distributed.is_initialized()


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


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm', 'mpi'])
def test_with_gpus_mmengine_joins_the_group_before_any_rank_is_asked(
        monkeypatch: pytest.MonkeyPatch, one_process: None,
        launcher: str) -> None:
    calls = []
    monkeypatch.setenv('OMPI_COMM_WORLD_LOCAL_RANK', '3')
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.setattr(
        'tadfkd.distributed.launchers.init_dist',
        lambda launcher, **options: calls.append((launcher, options)))
    for name in ('barrier', 'destroy_process_group'):
        monkeypatch.setattr(
            f'torch.distributed.{name}', lambda name=name: calls.append(name))
    with process_group(launcher, dict(backend='nccl')):
        assert calls == [(launcher, dict(backend='nccl', timeout=600))]
        # mmengine's Runner reads it, and its launch by MPI does not set it.
        assert os.environ['LOCAL_RANK'] == ('3' if launcher == 'mpi' else '0')
    assert calls[1:] == ['barrier', 'destroy_process_group']


@pytest.mark.parametrize('launcher, message', [
    ('mpi', '--launcher mpi .*tools/dist_train.sh'),
    ('slurm', 'srun did not start.*slurm_train'),
    ('pytorch', 'torchrun did not start.*dist_train'),
])
def test_a_launcher_that_cannot_work_says_what_to_use(
        no_gpu: None, monkeypatch: pytest.MonkeyPatch, launcher: str,
        message: str) -> None:
    for name in ('RANK', 'SLURM_PROCID'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=message), process_group(launcher):
        pass
    assert not distributed.is_initialized()
