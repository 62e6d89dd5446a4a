"""Selected samples that are left over for the next student step."""
import torch
from mmengine.dist import get_rank, get_world_size

from tadfkd.distributed.reductions import gather_ints
from tadfkd.structures import SyntheticBatch


class SelectedQueue:
    """First in, first out: a student step uses the leftovers of the last one.

    In a distributed run each process holds the samples that it made. Together
    they are one queue: a batch consists of the oldest samples of all
    processes, and each process takes its own samples of them.

    The queue holds fewer than two batches, because samples are only added
    while it holds less than one.
    """

    def __init__(self) -> None:
        self._waiting: SyntheticBatch | None = None
        # For every addition, the oldest first: its samples by process.
        self._lengths: list[list[int]] = []

    def __len__(self) -> int:
        """Number of samples in all processes."""
        return sum(map(sum, self._lengths))

    def add(self, batch: SyntheticBatch, equal: bool = False) -> None:
        """Append samples; all batches of a queue have the same fields.

        Args:
            batch: Samples of this process. All processes add at the same
                time.
            equal: Whether all processes add the same number of samples, so
                that no all-gather is needed.
        """
        batch = batch.detach()
        self._waiting = batch if self._waiting is None else \
            self._waiting.extend(batch)
        self._lengths.append(
            [len(batch)] *
            get_world_size() if equal else gather_ints(len(batch)))

    def take(self, size: int) -> SyntheticBatch:
        """Remove the ``size`` oldest samples; return this process's share of
        them, at least one sample."""
        assert self._waiting is not None and len(self) >= size, \
            f'asked for {size} samples, {len(self)} are waiting'
        waiting = [sum(lengths) for lengths in zip(*self._lengths)]
        shares = _shares(self._lengths, size)
        # A student step needs at least one sample in each process.
        for rank, share in enumerate(shares):
            if share == 0 and waiting[rank] > 0:
                shares[shares.index(max(shares))] -= 1
                shares[rank] = 1
        self._lengths = [[
            length - share for length, share in zip(waiting, shares)
        ]]
        batch, self._waiting = self._waiting.split(shares[get_rank()])
        return batch

    def clear(self) -> None:
        """Remove all samples; all processes call it together."""
        self._waiting, self._lengths = None, []

    def state_dict(self) -> dict:
        """The samples as plain tensors."""
        # Without the copy, a slice is saved with its whole storage.
        return {} if self._waiting is None else {
            name: values.clone()
            for name, values in vars(self._waiting).items()
            if values is not None
        }

    def load_state_dict(self, state: dict, device: torch.device) -> None:
        """Hold exactly the samples of :meth:`state_dict`, on ``device``; all
        processes call it together."""
        self._waiting = SyntheticBatch(**{
            name: values.to(device)
            for name, values in state.items()
        }) if state else None
        self._lengths = [
            gather_ints(len(self._waiting) if self._waiting else 0)
        ]


def _shares(lengths: list[list[int]], size: int) -> list[int]:
    """Number of the ``size`` oldest samples in each process."""
    shares = [0 for _ in lengths[0]]
    for addition in lengths:
        for rank, length in enumerate(addition):
            shares[rank] += min(length, size - sum(shares))
    return shares
