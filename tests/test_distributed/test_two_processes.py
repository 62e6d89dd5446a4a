"""Two processes learn together what one process learns, and resume."""
import json
import shutil
from pathlib import Path
from typing import Any

import one_against_two
import pytest
import torch
from algorithm_helpers import (ALGORITHMS, assert_identical, make_algorithm,
                               optimisers, real_batch)
from mmengine.dist import all_gather_object, get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, distributed, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import \
    allreduce_hook
from two_processes import assert_equal_in_both, in_two_processes

from tadfkd.apis import load_config, train
from tadfkd.distributed import DistributedNetworks
from tadfkd.distributed.wrapper import unwrapped
from tadfkd.errors import UnhealthyRun
from tadfkd.registry import HOOKS


@pytest.mark.parametrize('type', one_against_two.COMPARED)
def test_two_processes_learn_what_one_learns_from_twice_the_batch(
        type: str) -> None:
    # In float32 rounding can decide whether the input of a ReLU is positive,
    # and so change a gradient; docs/measured/two_processes_float64 has both.
    one = one_against_two.run(type, 'float64')
    two = one_against_two.two_as_one(type, 'float64')
    differences = one_against_two.differences(two, one)
    assert {k: v for k, v in differences.items() if not v < 1e-9} == {}
    assert two['counts'] == one['counts']
    assert two['queued'] == one['queued']


def train_and_watch(type: str) -> None:
    """Train two iterations in each of two processes."""
    bare = make_algorithm(type)
    names = [*bare.state_dict()]
    model = DistributedNetworks(bare)
    wrappers = optimisers(bare)
    events: list[tuple[str, str]] = []

    def average(
            name: str,
            bucket: distributed.GradBucket) -> torch.futures.Future[Tensor]:
        events.append(('average', name))
        return allreduce_hook(None, bucket)

    for name in bare.trained_networks:
        network = getattr(bare, name)
        if isinstance(network, nn.parallel.DistributedDataParallel):
            network.register_comm_hook(name, average)
        wrappers[name].optimizer.register_step_pre_hook(
            lambda *_, name=name: events.append(('step', name)))
    for _ in range(2):
        losses = model.train_step(real_batch(), wrappers)
    assert all(value.isfinite() for value in losses.values())

    # Gradients of a network are averaged once before its optimiser steps, and
    # at no other time. These generators have gradients of their own.
    own = type in ('ADI', 'DeepInversion', 'FastDFKD')
    pending: set[str] = set()
    for event, name in events:
        if event == 'average':
            assert name not in pending, events
            pending.add(name)
        else:
            assert name in pending or (own and name == 'generator'), events
            pending.discard(name)
            # The projection steps right after the generator.
            assert pending <= {'projection'}, events
    assert not isinstance(bare.teacher, nn.parallel.DistributedDataParallel)

    state = bare.state_dict()
    assert [*state] == names
    state.pop('generator.variables_BCHW', None)
    assert_equal_in_both(state)
    for name, position in bare.training_state()['streams'].items():
        mine, theirs = all_gather_object(position)
        shared = name in ('generator', 'noisy_layer', 'exchange')
        assert mine.equal(theirs) == shared


@pytest.mark.parametrize('type', ALGORITHMS)
def test_each_algorithm_trains_the_same_networks_in_both(type: str) -> None:
    in_two_processes(train_and_watch, type)


def train_two_epochs(config: str, options: dict[str, Any], work_dir: str,
                     resume: bool) -> dict[str, Any]:
    """What a process holds at the end of a run."""
    model = unwrapped(
        train(
            load_config(
                config,
                options,
                work_dir=work_dir,
                launcher='pytorch',
                resume=resume,
                evaluate=False)))
    assert_equal_in_both(model.state_dict())
    return dict(
        networks=model.state_dict(), training_state=model.training_state())


@pytest.mark.long
def test_a_resumed_run_of_two_processes_ends_like_the_whole_run(
        digits_config: str, tiny_options: dict[str, Any],
        tmp_path: Path) -> None:
    options = tiny_options | {'default_hooks.checkpoint.max_keep_ckpts': -1}
    whole, cut = tmp_path / 'whole', tmp_path / 'cut'
    expected = in_two_processes(train_two_epochs, digits_config, options,
                                str(whole), False)
    streams = [state['training_state']['streams'] for state in expected]
    assert not streams[0]['latents'].equal(streams[1]['latents'])

    # As if the run had been stopped after its first epoch.
    shutil.copytree(whole, cut)
    (cut / 'epoch_2.pth').unlink()
    (cut / 'last_checkpoint').write_text(str(cut / 'epoch_1.pth'))
    found = in_two_processes(train_two_epochs, digits_config, options,
                             str(cut), True)
    assert_identical(found, expected)
    histories = [
        json.loads((folder / 'history.json').read_text())['epochs']
        for folder in (whole, cut)
    ]
    assert histories[0] == histories[1]


@HOOKS.register_module()
class OverflowInOne(Hook):
    """In one process a weight is infinite at the end of the second epoch."""

    def before_save_by_all(self, runner: Runner) -> None:
        """See the training state's hook."""
        if runner.epoch + 1 == 2 and get_rank() == 1:
            student = unwrapped(runner.model).student
            next(student.parameters()).data.view(-1)[0] = torch.inf


def train_until_overflow(config: str, options: dict[str, Any],
                         work_dir: str) -> None:
    """Both processes end with the same error."""
    cfg = load_config(
        config, options, work_dir=work_dir, launcher='pytorch', evaluate=False)
    cfg.custom_hooks = [dict(type='OverflowInOne', priority='HIGH')]
    with pytest.raises(UnhealthyRun, match='not finite .*epoch_1.pth'):
        train(cfg)


def test_weights_that_are_not_finite_in_one_process_end_both(
        digits_config: str, tiny_options: dict[str, Any],
        tmp_path: Path) -> None:
    in_two_processes(train_until_overflow, digits_config, tiny_options,
                     str(tmp_path))
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_1.pth')
    assert not (tmp_path / 'epoch_2.pth').exists()
