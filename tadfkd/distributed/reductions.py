"""What a batch is in a distributed run: the samples of all processes.

Each process has the gradients of its own loss, and what a network learns by
is their mean. For that to be the gradient of the loss over the samples of all
processes, two things are enough, which compose:

- a loss that is a mean over samples counts by the number of its samples, see
  :func:`global_means`;
- a loss that is any other function of means over samples has the means over
  all processes for its value, and those of its own samples for its gradient,
  see :func:`global_mean`, :func:`global_moments` and
  :func:`global_statistics`.

All processes call them at the same time. With one process values and bits are
as if they were not called.
"""
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from mmengine.dist import all_gather, all_reduce, get_rank, get_world_size
from torch import Tensor

from tadfkd.structures import BNStatistics


def gather_ints(number: int) -> list[int]:
    """A whole number of each process, in the order of ranks; the processes
    wait for each other."""
    if get_world_size() == 1:
        return [number]
    return torch.stack(all_gather(torch.tensor(number))).tolist()


def gather_rows(rows_BF: Tensor) -> tuple[Tensor, slice]:
    """The rows of all processes in the order of ranks, without graph, and
    where this one's are among them; their number may differ."""
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
        losses: Scalars, each a mean over samples of this process.
        count: How many samples those are, >= 1.

    Returns:
        The same numbers in all processes, with a gradient whose mean over
        processes is that of the numbers.
    """
    if get_world_size() == 1 or not losses:
        return losses
    own = torch.stack([*losses.values()]).float()
    sums = count * torch.cat((own.detach(), own.new_ones(1)))
    all_reduce(sums)
    share = count * get_world_size() / sums[-1]
    values = _Instead.apply(share * own, sums[:-1] / sums[-1])
    return dict(zip(losses, values.unbind()))


def global_mean(mean: Tensor, count: int) -> Tensor:
    """The mean over the samples of all processes in place of one over
    ``count`` of this process, whose gradient it keeps."""
    if get_world_size() == 1:
        return mean
    sums = count * torch.cat((mean.detach().flatten(), mean.new_ones(1)))
    all_reduce(sums)
    return _Instead.apply(mean, (sums[:-1] / sums[-1]).view_as(mean))


def pooled_moments(mean_F: Tensor, variance_F: Tensor,
                   count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance over all processes, without graph, and the
    number of values in each channel as a tensor.

    Args:
        mean_F: Of this process, float32.
        variance_F: Biased, likewise.
        count: Number of values of which they are.
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
    """Mean and biased variance over all processes, with the gradient of
    those of this process; see :func:`pooled_moments`."""
    if get_world_size() == 1:
        return mean_F, variance_F
    whole_F, whole_variance_F, _ = pooled_moments(mean_F, variance_F, count)
    # The variance around the common mean moves with the own mean too.
    variance_F = variance_F + (mean_F - whole_F).square()
    return (_Instead.apply(mean_F, whole_F),
            _Instead.apply(variance_F, whole_variance_F))


def global_statistics(statistics: Sequence[BNStatistics],
                      count: int) -> Sequence[BNStatistics]:
    """Statistics of the batch of all processes, with the gradient of this
    one's.

    Args:
        statistics: Of a forward in this process.
        count: Samples in that forward.
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
    """Replace gradients by their means over processes, in one exchange, for
    weights that are outside of the distributed wrapper."""
    if get_world_size() == 1:
        return
    gradients = [*gradients]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    all_reduce(flat, 'mean')
    for gradient, mean in zip(
            gradients, flat.split([len(g.flatten()) for g in gradients])):
        gradient.copy_(mean.view_as(gradient))


class _Instead(torch.autograd.Function):
    """One tensor's value with another's gradient."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None
