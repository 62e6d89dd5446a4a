"""Optimiser steps that are skipped if they are not finite."""
import copy
from collections.abc import Callable

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from tadfkd.engine import GuardedOptimWrapper
from tadfkd.structures import Counters, Updates

INPUTS_BF = torch.linspace(-1, 2, 12).view(4, 3)


class Scaled(OptimWrapper):
    """Like mmengine's AmpOptimWrapper, on any device."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        super().__init__(optimizer)
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=1024.0)

    def backward(self, loss: Tensor, **kwargs: object) -> None:
        """Scale the loss."""
        super().backward(self.loss_scaler.scale(loss), **kwargs)

    def step(self, **kwargs: object) -> None:
        """Unscale, and step if that is finite."""
        self.loss_scaler.step(self.optimizer)
        self.loss_scaler.update()


class GuardedScaled(GuardedOptimWrapper, Scaled):
    """Like ours for AmpOptimWrapper."""


def network() -> nn.Sequential:
    """With weights and with statistics that a forward moves."""
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def wrapper_of(model: nn.Module,
               kind: type[GuardedOptimWrapper] = GuardedOptimWrapper,
               **arguments: object) -> tuple[GuardedOptimWrapper, Updates]:
    """One with momentum and weight decay, and what it counts."""
    counters = Counters()
    wrapper = kind(
        optimizer=torch.optim.SGD(
            model.parameters(), 0.1, momentum=0.9, weight_decay=0.1),
        **arguments)
    wrapper.attach('student', counters, [model])
    return wrapper, counters.updates['student']


def step(wrapper: OptimWrapper,
         model: nn.Module,
         spoil: Callable[[Tensor], Tensor] = lambda loss: loss) -> None:
    """One forward and update."""
    with wrapper.optim_context(model):
        loss = spoil(model(INPUTS_BF).square().mean())
    wrapper.update_params(loss)


def everything(wrapper: OptimWrapper, model: nn.Module) -> list[Tensor]:
    """Weights, buffers and momentum."""
    return [
        value.clone()
        for value in (*model.state_dict().values(),
                      *(state['momentum_buffer']
                        for state in wrapper.optimizer.state.values()))
    ]


def equal(first: list[Tensor], second: list[Tensor]) -> bool:
    """Bit by bit."""
    return len(first) == len(second) and all(map(torch.equal, first, second))


def test_finite_steps_equal_those_of_a_plain_wrapper_bit_by_bit() -> None:
    model = network()
    other = copy.deepcopy(model)
    wrapper, updates = wrapper_of(model)
    plain = OptimWrapper(
        torch.optim.SGD(
            other.parameters(), 0.1, momentum=0.9, weight_decay=0.1))
    for _ in range(3):
        step(wrapper, model)
        step(plain, other)
    assert equal(everything(wrapper, model), everything(plain, other))
    assert (updates.applied, updates.skipped) == (3, 0)


@pytest.mark.parametrize(
    'spoil', [
        lambda loss: loss * torch.nan,
        lambda loss: loss * torch.inf,
        lambda loss: loss + torch.inf,
        lambda loss: loss + loss.detach() * torch.nan,
        lambda loss: (loss - loss.detach()).sqrt(),
        lambda loss: loss * 1e30,
    ],
    ids=[
        'nan', 'inf', 'infinite constant', 'nan without gradient',
        'gradient alone', 'norm beyond float32'
    ])
@pytest.mark.parametrize('first', [True, False])
def test_a_step_that_is_not_finite_changes_nothing(spoil: Callable[[Tensor],
                                                                   Tensor],
                                                   first: bool) -> None:
    model = network()
    wrapper, updates = wrapper_of(model)
    if not first:
        step(wrapper, model)
    before = everything(wrapper, model)
    for times in (1, 2):
        step(wrapper, model, spoil)
        assert equal(everything(wrapper, model), before)
        assert (updates.skipped, updates.skipped_in_a_row) == (times, times)
    assert all(weight.grad is None for weight in model.parameters())
    step(wrapper, model)
    assert not equal(everything(wrapper, model), before)
    assert (updates.skipped, updates.skipped_in_a_row) == (2, 0)
    assert updates.applied == 2 - first


def test_the_norm_is_taken_over_all_gradients() -> None:
    model = network()
    wrapper, updates = wrapper_of(model)
    expected = 0.0
    for _ in range(2):
        model(INPUTS_BF).square().mean().backward()
        expected += float(
            sum(weight.grad.double().square().sum()
                for weight in model.parameters()))**0.5
        model.zero_grad()
        step(wrapper, model)
    assert updates.gradient_norm_sum == pytest.approx(expected, rel=1e-4)


def test_one_bad_part_skips_the_whole_accumulated_step() -> None:
    model = network()
    wrapper, updates = wrapper_of(
        model, accumulative_counts=2, clip_grad=dict(max_norm=0.1))
    before = everything(wrapper, model)
    step(wrapper, model, lambda loss: loss * torch.nan)
    step(wrapper, model)
    assert equal(everything(wrapper, model), before)
    assert updates.skipped == 1
    step(wrapper, model)
    step(wrapper, model)
    assert updates.applied == 1
    assert not equal(everything(wrapper, model), before)


# In the second case the loss alone is not finite.
@pytest.mark.parametrize(
    'spoil', [lambda loss: loss * torch.inf, lambda loss: loss + torch.inf])
def test_a_loss_scaler_lowers_its_scale_after_a_skipped_step(
        spoil: Callable[[Tensor], Tensor]) -> None:
    model = network()
    wrapper, updates = wrapper_of(model, GuardedScaled)
    before = everything(wrapper, model)
    step(wrapper, model, spoil)
    assert equal(everything(wrapper, model), before)
    assert updates.skipped == 1
    assert wrapper.loss_scaler.get_scale() == 512
    step(wrapper, model)
    assert not equal(everything(wrapper, model), before)


@pytest.mark.parametrize('kind', [torch.optim.SGD, torch.optim.Adam])
@pytest.mark.parametrize('saved_fused, fused', [(True, False), (False, True),
                                                (True, True)])
@pytest.mark.parametrize('saved_last', [True, False])
def test_a_state_in_another_order_in_memory_goes_to_its_weights(
        kind: type, saved_fused: bool, fused: bool, saved_last: bool) -> None:
    torch.manual_seed(0)
    images_BCHW = torch.rand(3, 4, 5, 5)
    first = nn.Conv2d(4, 6, 3)
    second = copy.deepcopy(first)
    plain = copy.deepcopy(first)
    if saved_last:
        first.to(memory_format=torch.channels_last)
    else:
        second.to(memory_format=torch.channels_last)
    more = dict(momentum=0.9) if kind is torch.optim.SGD else {}

    def made(network: nn.Module, fused: bool) -> GuardedOptimWrapper:
        wrapper = GuardedOptimWrapper(
            optimizer=kind(network.parameters(), 0.1, fused=fused, **more))
        wrapper.attach('student', Counters(), [network])
        return wrapper

    def train(network: nn.Module, wrapper: GuardedOptimWrapper) -> None:
        for _ in range(3):
            wrapper.update_params(network(images_BCHW).square().mean())

    wrappers = [
        made(first, saved_fused),
        made(second, fused),
        made(plain, False)
    ]
    train(first, wrappers[0])
    second.load_state_dict(first.state_dict())
    wrappers[1].load_state_dict(wrappers[0].state_dict())
    assert bool(wrappers[1].optimizer.param_groups[0]['fused']) == fused
    train(second, wrappers[1])
    train(plain, wrappers[2])
    train(plain, wrappers[2])
    torch.testing.assert_close(second.weight, plain.weight)
