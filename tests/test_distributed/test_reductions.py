"""Means and selections of two processes equal those of one."""
import torch
from mmengine.dist import get_rank
from torch import Tensor
from two_processes import assert_equal_in_both, in_two_processes

from tadfkd.distributed.reductions import global_means, global_statistics
from tadfkd.selectors import (ConfidenceSelector, GMMSelector,
                              TopFractionSelector)
from tadfkd.structures import BNStatistics, TeacherOutput


def compare_losses_and_gradients() -> None:
    """Of two and six samples, in float64."""
    sizes = (2, 6)
    values = torch.randn(8, 5).double() + torch.arange(5.0).double()
    running = torch.rand(5).double()

    def losses_of(rows: Tensor, layer: BNStatistics) -> dict[str, Tensor]:
        return dict(
            mean=rows.square().mean(),
            distance=(layer.mean_F - running).norm() +
            (layer.variance_F - running).norm())

    def statistics_of(rows: Tensor) -> BNStatistics:
        variance, mean = torch.var_mean(rows, 0, correction=0)
        return BNStatistics(mean, variance, running, running)

    whole = values.clone().requires_grad_()
    expected = losses_of(whole, statistics_of(whole))
    sum(expected.values()).backward()
    own = values.split(sizes)[get_rank()].clone().requires_grad_()
    joined, = global_statistics([statistics_of(own)], len(own))
    found = global_means(losses_of(own, joined), len(own))
    sum(found.values()).backward()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=0)
    # A network learns from the mean of the gradients of both processes.
    torch.testing.assert_close(
        own.grad / 2,
        whole.grad.split(sizes)[get_rank()],
        rtol=1e-12,
        atol=1e-14)
    assert_equal_in_both({name: loss.detach() for name, loss in found.items()})
    half = dict(loss=torch.tensor(1.0, dtype=torch.bfloat16))
    assert global_means(half, 2)['loss'].dtype == torch.float32


def test_losses_and_statistics_are_weighted_by_the_number_of_samples() -> None:
    in_two_processes(compare_losses_and_gradients)


def logits_of(losses: list[float]) -> Tensor:
    """Two logits per sample, whose pseudo-label loss is the given one."""
    probability = (-torch.tensor(losses).double()).exp()
    return torch.stack((probability, 1 - probability), 1).log()


SPREAD = [0.01, 0.02, 0.03, 0.02, 0.01, 0.03, 0.6, 0.62, 0.61, 0.6, 0.05]


def select_parts_of_one_batch() -> None:
    """Split it at several places."""
    logits_BK = logits_of(SPREAD)
    logits_BK[3] = torch.nan
    # What is selected from the whole batch, worked out by hand.
    low = [loss < 0.1 and index != 3 for index, loss in enumerate(SPREAD)]
    best = [index in (0, 1, 2, 4, 5) for index in range(len(SPREAD))]
    for cut in (1, 5, 6, 8, 10):
        own = slice(0, cut) if get_rank() == 0 else slice(cut, None)
        for selector, expected in ((GMMSelector(), low),
                                   (TopFractionSelector(fraction=0.5), best)):
            mask_B = selector.select(TeacherOutput(logits_BK[own])).tolist()
            if any(expected[own]):
                assert mask_B == expected[own]
            else:
                # Each process keeps at least its best sample.
                assert sum(mask_B) == 1
    if get_rank() == 0:
        # An exchange would wait for the other process, and time out.
        GMMSelector(scope='local').select(TeacherOutput(logits_BK))
        ConfidenceSelector(0.9).select(TeacherOutput(logits_BK))


def test_a_selection_does_not_depend_on_the_split() -> None:
    in_two_processes(select_parts_of_one_batch)
