"""What holds in each of two processes; run by torchrun, in both at once.

Usage: torchrun --nproc_per_node=2 -m pytest FILE, with the results of single
processes in the folder that ``REFERENCES`` names.
"""
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equivalence
import pytest
import torch
import torch.distributed as distributed
from algorithm_helpers import (ALGORITHMS, make_algorithm, optimisers,
                               real_batch)
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import \
    allreduce_hook

from tadfkd.apis import load_config, train
from tadfkd.distributed import DistributedNetworks, process_group
from tadfkd.distributed.batch_norm import (SynchronizedBatchNorm,
                                           synchronize_batch_norms)
from tadfkd.distributed.reductions import global_means, global_statistics
from tadfkd.distributed.wrapper import unwrapped
from tadfkd.errors import UnhealthyRun
from tadfkd.memory import SelectedQueue
from tadfkd.networks.freezing import frozen
from tadfkd.registry import HOOKS
from tadfkd.selectors import (ConfidenceSelector, GMMSelector,
                              TopFractionSelector)
from tadfkd.structures import BNStatistics, SyntheticBatch, TeacherOutput

RANK = int(os.environ['RANK'])


@pytest.fixture(scope='session', autouse=True)
def both() -> Iterator[None]:
    """Both processes, which do not wait long for one that has failed."""
    with process_group('pytorch', dict(timeout=30)):
        yield


def watch(model: DistributedNetworks, wrappers: Any) -> list[str]:
    """Filled with what happens: ``'average NAME'`` as the gradients of a
    network are exchanged, ``'step NAME'`` as its optimiser steps."""
    events: list[str] = []

    def average(
            name: str,
            bucket: distributed.GradBucket) -> torch.futures.Future[Tensor]:
        events.append(f'average {name}')
        return allreduce_hook(None, bucket)

    for name, child in model.module.named_children():
        if isinstance(child, nn.parallel.DistributedDataParallel):

            child.register_comm_hook(name, average)
    for name, wrapper in wrappers.items():
        wrapper.optimizer.register_step_pre_hook(
            lambda *_, name=name: events.append(f'step {name}'))
    return events


@pytest.mark.parametrize('type', ALGORITHMS)
def test_each_algorithm_trains_the_same_networks_in_both(type: str) -> None:
    torch.manual_seed(0)
    bare = make_algorithm(type)
    keys = [*bare.state_dict()]
    model = DistributedNetworks(bare)
    assert not isinstance(bare.teacher, nn.parallel.DistributedDataParallel)
    assert not any(
        isinstance(layer, SynchronizedBatchNorm)
        for layer in bare.teacher.modules())
    wrappers = optimisers(bare)
    events = watch(model, wrappers)
    for _ in range(2):
        losses = model.train_step(real_batch(), wrappers)

    # Gradients of a network are exchanged once before its optimiser steps,
    # and for no other one. Those of what has no wrapper are not counted.
    trained = {'student', 'generator', 'projection', 'replay'} & set(
        unwrapped(model).trained_networks)
    counts = Counter(events)
    for name in trained:
        own = type in ('ADI', 'DeepInversion', 'FastDFKD')
        expected = 0 if own and name == 'generator' \
            else counts[f'step {name}']
        assert counts[f'average {name}'] == expected, name
    pending: set[str] = set()
    for event in events:
        kind, name = event.split()
        if kind == 'average':
            pending.add(name)
        else:
            pending.discard(name)
            # The projection steps right after the generator.
            assert pending <= {'projection'}, events

    state = model.module.state_dict()
    assert [*state] == keys
    state.pop('generator.variables_BCHW', None)
    assert_same({key: digest(value) for key, value in state.items()})
    if type not in ('ADI', 'DeepInversion', 'PREDFKD', 'VanillaKD', 'CMI',
                    'SpaceshipNet'):
        assert_same({key: digest(value) for key, value in losses.items()})
    streams = bare.training_state()['streams']
    for name, position in streams.items():
        mine, theirs = all_gather_object(digest(position))
        assert (mine == theirs) == (name in ('generator', 'noisy_layer'))


def digest(value: Tensor) -> str:
    """Of all bits."""
    return hashlib.sha256(
        value.detach().contiguous().numpy().tobytes()).hexdigest()


def assert_same(values: dict[str, Any]) -> None:
    """In both processes."""
    first, second = all_gather_object(values)
    assert first.keys() == second.keys()
    assert [key for key in first if first[key] != second[key]] == []


@pytest.mark.parametrize('affine', [True, False])
@pytest.mark.parametrize('shape', [(6, ), (6, 4, 5), (6, 4, 5, 3)])
@pytest.mark.parametrize('momentum', [0.1, None])
def test_batch_norm_over_both_is_that_of_one_with_all(
        shape: tuple[int, ...], affine: bool, momentum: float | None) -> None:
    kind = {1: nn.BatchNorm1d, 3: nn.BatchNorm2d, 4: nn.BatchNorm3d}
    batch, sizes = torch.randn(7, *shape) * 3 + 5, (2, 5)
    weights = torch.randn(7, *shape)
    expected = kind[len(shape)](6, affine=affine, momentum=momentum)
    if affine:
        nn.init.normal_(expected.weight)
    layer = kind[len(shape)](6, affine=affine, momentum=momentum)
    layer.load_state_dict(expected.state_dict())
    synchronize_batch_norms(layer)
    assert isinstance(layer, nn.modules.batchnorm._BatchNorm)

    whole = batch.clone().requires_grad_()
    for _ in range(2):
        output = expected(whole)
        (output * weights).sum().backward()
    own = batch.split(sizes)[RANK].clone().requires_grad_()
    for _ in range(2):
        found = layer(own)
        (found * weights.split(sizes)[RANK]).sum().backward()
    close = torch.testing.assert_close
    close(found, output.split(sizes)[RANK], rtol=1e-4, atol=1e-5)
    close(own.grad, whole.grad.split(sizes)[RANK], rtol=1e-3, atol=1e-4)
    close(dict(layer.named_buffers()), dict(expected.named_buffers()))
    if affine:
        # Each process has its part of them, as of other weights.
        for name in ('weight', 'bias'):
            gradient = getattr(layer, name).grad
            distributed.all_reduce(gradient)
            close(gradient, getattr(expected, name).grad, rtol=1e-4, atol=1e-4)


def test_batch_norm_in_eval_mode_exchanges_nothing() -> None:
    layer = nn.BatchNorm2d(3)
    synchronize_batch_norms(layer)
    if RANK == 0:
        # The other one would be waited for in vain.
        with frozen(layer):
            layer(torch.rand(2, 3, 4, 4))
    distributed.barrier()


def test_batch_norm_takes_bfloat16() -> None:
    layer = nn.BatchNorm2d(3)
    synchronize_batch_norms(layer)
    images = torch.randn(2, 3, 4, 4).bfloat16().requires_grad_()
    layer(images).float().square().sum().backward()
    assert images.grad.dtype == torch.bfloat16
    assert layer.running_mean.dtype == torch.float32


def test_a_layer_with_a_forward_of_its_own_stays_as_it_is() -> None:

    class Activated(nn.BatchNorm2d):

        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input).relu()

    layer = Activated(3)
    synchronize_batch_norms(layer)
    assert type(layer) is Activated
    assert layer(torch.randn(2, 3, 4, 4)).min() == 0


def logits_of(losses: list[float]) -> Tensor:
    """Two logits a row, of which the pseudo-label loss is a given one."""
    probability = (-torch.tensor(losses).double()).exp()
    return torch.stack((probability, 1 - probability), 1).log().float()


SPREAD = [0.01, 0.02, 0.03, 0.02, 0.01, 0.03, 0.6, 0.62, 0.61, 0.6, 0.05]


@pytest.mark.parametrize('cut', [1, 5, 6, 8, 10])
@pytest.mark.parametrize(
    'selector',
    [GMMSelector(), TopFractionSelector(fraction=0.5)])
def test_what_is_kept_does_not_depend_on_the_split(selector: Any,
                                                   cut: int) -> None:
    logits_BK = logits_of(SPREAD)
    logits_BK[3] = torch.nan
    # Those that all together keep, worked out by hand.
    expected = [loss < 0.1 and index != 3 for index, loss in enumerate(SPREAD)]
    if isinstance(selector, TopFractionSelector):
        expected = [index in (0, 1, 2, 4, 5) for index in range(len(SPREAD))]
    own = slice(0, cut) if RANK == 0 else slice(cut, None)
    mask_B = selector.select(TeacherOutput(logits_BK[own])).tolist()
    if not any(expected[own]):
        # Each process keeps its best at least.
        assert sum(mask_B) == 1
    else:
        assert mask_B == expected[own]


def test_a_local_selection_asks_nobody() -> None:
    if RANK == 0:
        GMMSelector(scope='local').select(TeacherOutput(logits_of(SPREAD)))
        ConfidenceSelector(0.9).select(TeacherOutput(logits_of(SPREAD)))
    distributed.barrier()


def test_losses_and_statistics_count_by_samples() -> None:
    sizes, values = (2, 6), torch.randn(8, 5) + torch.arange(5.0)
    running = torch.rand(5)

    def losses_of(rows: Tensor) -> dict[str, Tensor]:
        variance, mean = torch.var_mean(rows, 0, correction=0)
        layer = BNStatistics(mean, variance, running, running)
        joined, = global_statistics([layer], len(rows))
        return dict(
            mean=rows.square().mean(),
            distance=(joined.mean_F - running).norm() +
            (joined.variance_F - running).norm())

    whole = values.clone().requires_grad_()
    variance, mean = torch.var_mean(whole, 0, correction=0)
    expected = dict(
        mean=whole.square().mean(),
        distance=(mean - running).norm() + (variance - running).norm())
    sum(expected.values()).backward()
    own = values.split(sizes)[RANK].clone().requires_grad_()
    found = global_means(losses_of(own), len(own))
    sum(found.values()).backward()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    # What is learned by is the mean of both gradients.
    torch.testing.assert_close(own.grad / 2, whole.grad.split(sizes)[RANK])
    assert_same({name: value.item() for name, value in found.items()})


def test_a_queue_of_both_gives_the_oldest() -> None:
    queue = SelectedQueue()

    def add(*counts: int) -> None:
        images = torch.full((counts[RANK], 1, 1, 1), float(len(added)))
        added.append(counts)
        queue.add(SyntheticBatch(images))

    added: list[tuple[int, ...]] = []
    add(3, 1)
    assert len(queue) == 4
    add(2, 4)
    # The first four, and then those of the first process: 3 + 2 and 1 + 2.
    batch = queue.take(8)
    assert batch.images_BCHW.flatten().tolist() == [[0, 0, 0, 1, 1], [0, 1,
                                                                      1]][RANK]
    assert len(queue) == 2
    saved = queue.state_dict()
    queue = SelectedQueue()
    queue.load_state_dict(saved, torch.device('cpu'))
    assert len(queue) == 2
    add(6, 1)
    assert len(queue.take(3).images_BCHW) == [1, 2][RANK]
    assert len(queue) == 6
    assert len(queue.take(6).images_BCHW) == [5, 1][RANK]
    # All of the oldest three are the second one's, but none goes without.
    add(0, 3)
    add(1, 1)
    assert len(queue.take(3).images_BCHW) == [1, 2][RANK]
    assert len(queue) == 2


def test_a_process_without_a_clean_sample_keeps_the_others_waiting_for_none(
) -> None:
    torch.manual_seed(0)
    model = DistributedNetworks(
        make_algorithm('TADFKD', selector=dict(type='GMMSelector')))
    bare = model.module
    if RANK == 1:
        # Its candidates are all alike, so that it keeps other numbers.
        bare.sample_latents = lambda size, stream: torch.zeros(size, 6)
    wrappers = optimisers(bare)
    for _ in range(4):
        losses = model.train_step(None, wrappers)
    assert all(value.isfinite() for value in losses.values())
    assert_same({
        key: digest(value)
        for key, value in bare.state_dict().items()
    })


def learned(run: dict[str, Any], network: str) -> Tensor:
    """What has changed in a network, as one vector."""
    return torch.cat([(run['networks'][key] - before).flatten().double()
                      for key, before in run['begin'].items()
                      if key.startswith(f'{network}.')])


@pytest.mark.parametrize('type', equivalence.COMPARED)
def test_two_processes_do_what_one_does_with_twice_the_batch(
        type: str) -> None:
    expected = torch.load(
        Path(os.environ['REFERENCES'], f'{type}.pth'), weights_only=True)
    model = DistributedNetworks(
        equivalence.built(type, equivalence.BATCH_SIZE))
    found = equivalence.trained(model)
    if type == 'DeepInversion':
        # Of which each process has its half.
        for part in ('begin', 'networks'):
            pixels = expected[part]['generator.variables_BCHW'].chunk(2)
            expected[part]['generator.variables_BCHW'] = pixels[RANK]
    found['begin'] = expected['begin']
    for part in ('losses', 'networks'):
        torch.testing.assert_close(
            found[part], expected[part], rtol=1e-3, atol=1e-4)
    # What was learned is the same too, and not only small.
    for network in unwrapped(model).trained_networks:
        change = learned(expected, network)
        assert change.norm() > 0
        difference = learned(found, network) - change
        assert difference.norm() < 1e-3 * change.norm(), network
    assert found['queue'] == expected['queue']
    # Steps that were applied are the same in each, and compared by weights.
    del expected['counters']['updates']
    for name, count in expected['counters'].items():
        counts = torch.tensor(found['counters'][name])
        if name.startswith('images'):
            distributed.all_reduce(counts)
        assert counts == count, name


@HOOKS.register_module()
class OverflowInOne(Hook):
    """In the second process alone a weight is infinite when it is saved."""

    def before_save_by_all(self, runner: Runner) -> None:
        """Of the second epoch."""
        if runner.epoch + 1 == 2 and RANK == 1:
            student = unwrapped(runner.model).student
            next(student.parameters()).data.view(-1)[0] = torch.inf


def run_of_both(config: str, options: dict[str, Any], name: str,
                hook: str) -> nn.Module:
    """Three tiny epochs in one work directory."""
    cfg = load_config(
        config,
        options | {'train_cfg.max_epochs': 3},
        work_dir=str(Path(os.environ['REFERENCES'], name)),
        launcher='pytorch',
        evaluate=False)
    cfg.custom_hooks = [dict(type=hook, priority='HIGH')]
    return train(cfg)


def test_what_one_must_not_save_ends_both(
        digits_config: str, tiny_options: dict[str, Any]) -> None:
    with pytest.raises(UnhealthyRun, match='not finite .*epoch_1.pth'):
        run_of_both(digits_config, tiny_options, 'overflow', 'OverflowInOne')
    folder = Path(os.environ['REFERENCES'], 'overflow')
    assert (folder / 'last_checkpoint').read_text().endswith('epoch_1.pth')
    assert not (folder / 'epoch_2.pth').exists()
