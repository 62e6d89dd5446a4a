"""Verified samples that wait for a student step."""
import torch
from mmengine.dist import get_rank, get_world_size

from tadfkd.distributed.reductions import gather_ints
from tadfkd.structures import SyntheticBatch


class SelectedQueue:
    """First in, first out: what one student step leaves, the next one uses.

    In a distributed run each process holds the samples that it made, and all
    count as one queue: a batch is what has waited longest in any of them, of
    which each has its part.

    Bounded by its use: samples are only added while fewer than a batch wait,
    so fewer than two batches are ever held.
    """

    def __init__(self) -> None:
        self._waiting: SyntheticBatch | None = None
        # Of every addition, the oldest first: what waits in each process.
        self._lengths: list[list[int]] = []

    def __len__(self) -> int:
        """What waits in all processes."""
        return sum(map(sum, self._lengths))

    def add(self, batch: SyntheticBatch, equal: bool = False) -> None:
        """Append samples; all batches of a queue have the same fields.

        Args:
            batch: Of this process; all of them add at the same time.
            equal: Whether all add as many, so that none has to ask.
        """
        batch = batch.detach()
        self._waiting = batch if self._waiting is None else \
            self._waiting.extend(batch)
        self._lengths.append(
            [len(batch)] *
            get_world_size() if equal else gather_ints(len(batch)))

    def take(self, size: int) -> SyntheticBatch:
        """Remove the ``size`` oldest samples and return those of them that
        are in this process, at least one."""
        assert self._waiting is not None and len(self) >= size, \
            f'asked for {size} samples, {len(self)} are waiting'
        waiting = [sum(lengths) for lengths in zip(*self._lengths)]
        shares = _shares(self._lengths, size)
        # A network cannot learn from no sample at all.
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
        """Forget the waiting samples; all processes do so."""
        self._waiting, self._lengths = None, []

    def state_dict(self) -> dict:
        """The waiting samples as plain tensors."""
        # A slice would be saved with the whole storage that it views.
        return {} if self._waiting is None else {
            name: values.clone()
            for name, values in vars(self._waiting).items()
            if values is not None
        }

    def load_state_dict(self, state: dict, device: torch.device) -> None:
        """Hold exactly what :meth:`state_dict` gave, on ``device``; all
        processes do so at the same time."""
        self._waiting = SyntheticBatch(**{
            name: values.to(device)
            for name, values in state.items()
        }) if state else None
        self._lengths = [
            gather_ints(len(self._waiting) if self._waiting else 0)
        ]


def _shares(lengths: list[list[int]], size: int) -> list[int]:
    """How many of the ``size`` oldest samples each process has."""
    shares = [0 for _ in lengths[0]]
    for addition in lengths:
        for rank, length in enumerate(addition):
            shares[rank] += min(length, size - sum(shares))
    return shares
