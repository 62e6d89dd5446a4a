"""Reductions by which N processes train like one with a larger batch.

Process ``i`` has ``B_i`` samples, and all processes have ``B``. The
distributed wrapper averages gradients, so a step uses ``1/N sum_i grad L_i``.
It should use ``grad L``, where ``L`` is the loss over all ``B`` samples. Two
rules achieve this, and they compose:

- ``L`` is a mean over samples. With ``m_i`` as the mean in process ``i``,
  ``L = sum_i B_i/B m_i``. Process ``i`` therefore uses
  ``L_i = N B_i/B m_i``, see :func:`global_means`.
- ``L = f(m)``, where ``m = sum_i B_i/B m_i`` is a mean over all samples.
  Process ``i`` computes ``f`` from the value of ``m`` and the gradient of
  ``m_i``, and then applies the first rule. See :func:`global_mean`,
  :func:`global_moments` and :func:`global_statistics`.

Each function is a collective: all processes must call it at the same time.
With one process it returns its input, bit for bit.
"""
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from mmengine.dist import (all_gather, all_reduce, all_reduce_params, get_rank,
                           get_world_size)
from torch import Tensor

from tadfkd.structures import BNStatistics
from tadfkd.utils.precision import at_least_float32


def gather_ints(number: int) -> list[int]:
    """The ``number`` of each process, in the order of ranks."""
    if get_world_size() == 1:
        return [number]
    return torch.stack(all_gather(torch.tensor(number))).tolist()


def gather_rows(rows_BF: Tensor) -> tuple[Tensor, slice]:
    """Gather the rows of all processes, which may have different numbers.

    Returns:
        All rows in the order of ranks, without graph, and the slice with the
        rows of this process.
    """
    if get_world_size() == 1:
        return rows_BF, slice(None)
    lengths = gather_ints(len(rows_BF))
    padded = rows_BF.new_zeros(max(lengths), *rows_BF.shape[1:])
    padded[:len(rows_BF)] = rows_BF.detach()
    rows = torch.cat(
        [rows[:length] for rows, length in zip(all_gather(padded), lengths)])
    start = sum(lengths[:get_rank()])
    return rows, slice(start, start + len(rows_BF))


def global_means(losses: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    """Losses as means over the samples of all processes.

    Args:
        losses: Scalars, each a mean over the samples of this process.
        count: Number of these samples, >= 1.

    Returns:
        Scalars ``L``, equal in all processes. Their gradients ``grad L_i``
        average to ``grad L`` over the processes.
    """
    if get_world_size() == 1 or not losses:
        return losses
    own = at_least_float32(torch.stack([*losses.values()]))
    sums = count * torch.cat((own.detach(), own.new_ones(1)))
    all_reduce(sums)
    share = count * get_world_size() / sums[-1]
    values = _ReplaceValue.apply(share * own, sums[:-1] / sums[-1])
    return dict(zip(losses, values.unbind()))


def global_mean(mean: Tensor, count: int) -> Tensor:
    """The mean over the samples of all processes.

    Args:
        mean: The mean over ``count`` samples of this process, of any shape.
        count: Number of these samples, >= 1.

    Returns:
        The value of the global mean with the gradient of ``mean``.
    """
    if get_world_size() == 1:
        return mean
    sums = count * torch.cat((mean.detach().flatten(), mean.new_ones(1)))
    all_reduce(sums)
    return _ReplaceValue.apply(mean, (sums[:-1] / sums[-1]).view_as(mean))


def reduce_moments(mean_F: Tensor, variance_F: Tensor,
                   count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance over the values of all processes.

    Args:
        mean_F: Mean in this process, float32.
        variance_F: Biased variance in this process, float32.
        count: Number of values per channel in this process, >= 1.

    Returns:
        Mean, biased variance, and the number of values per channel as a
        scalar, all without graph.
    """
    own = torch.cat((mean_F, variance_F, mean_F.new_full((1, ), count)))
    table = torch.stack(all_gather(own.detach()))
    counts_N1 = table[:, -1:]
    means_NF, variances_NF = table[:, :-1].chunk(2, 1)
    total = counts_N1.sum()
    shares_N1 = counts_N1 / total
    mean_F = (shares_N1 * means_NF).sum(0)
    variances_NF = variances_NF + (means_NF - mean_F).square()
    return mean_F, (shares_N1 * variances_NF).sum(0), total


def global_moments(mean_F: Tensor, variance_F: Tensor,
                   count: int) -> tuple[Tensor, Tensor]:
    """Mean and biased variance over all processes, with gradients.

    The values are those of :func:`reduce_moments`, and so are the arguments.
    The gradients are those of the moments of this process around the global
    mean.
    """
    if get_world_size() == 1:
        return mean_F, variance_F
    global_mean_F, global_variance_F, _ = reduce_moments(
        mean_F, variance_F, count)
    # The variance around the global mean also depends on this mean.
    variance_F = variance_F + (mean_F - global_mean_F).square()
    return (_ReplaceValue.apply(mean_F, global_mean_F),
            _ReplaceValue.apply(variance_F, global_variance_F))


def global_statistics(statistics: Sequence[BNStatistics],
                      count: int) -> Sequence[BNStatistics]:
    """Batch-norm statistics over the samples of all processes.

    Args:
        statistics: One per layer, of a forward pass in this process.
        count: Number of samples in that forward pass, >= 1.

    Returns:
        Global values with the gradients of :func:`global_moments`.
    """
    if get_world_size() == 1:
        return statistics
    sizes = [len(layer.mean_F) for layer in statistics]
    means, variances = global_moments(
        torch.cat([layer.mean_F for layer in statistics]),
        torch.cat([layer.variance_F for layer in statistics]), count)
    return [
        replace(layer, mean_F=mean_F, variance_F=variance_F)
        for layer, mean_F, variance_F in zip(statistics, means.split(sizes),
                                             variances.split(sizes))
    ]


def average_gradients(gradients: Iterable[Tensor]) -> None:
    """Average gradients over processes in place, by one all-reduce.

    Needed for weights that are not inside the distributed wrapper.
    """
    all_reduce_params([*gradients], op='mean')


class _ReplaceValue(torch.autograd.Function):
    """The value of one tensor with the gradient of another."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None
