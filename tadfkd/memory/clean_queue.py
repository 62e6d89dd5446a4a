"""Verified samples that wait for a student step."""
from tadfkd.structures import SyntheticBatch


class CleanQueue:
    """First in, first out: what one student step leaves, the next one uses.

    Bounded by its use: samples are only added while fewer than a batch wait,
    so fewer than two batches are ever held.
    """

    def __init__(self) -> None:
        self._waiting: SyntheticBatch | None = None

    def __len__(self) -> int:
        return 0 if self._waiting is None else len(self._waiting)

    def add(self, batch: SyntheticBatch) -> None:
        """Append samples; all batches of a queue have the same fields."""
        batch = batch.detach()
        self._waiting = batch if self._waiting is None else \
            self._waiting.extend(batch)

    def take(self, size: int) -> SyntheticBatch:
        """Remove and return the ``size`` oldest samples."""
        assert self._waiting is not None and len(self) >= size, \
            f'asked for {size} samples, {len(self)} are waiting'
        batch, self._waiting = self._waiting.split(size)
        return batch

    def state_dict(self) -> dict:
        """The waiting samples as plain tensors."""
        # A slice would be saved with the whole storage that it views.
        return {} if self._waiting is None else {
            name: values.clone()
            for name, values in vars(self._waiting).items()
            if values is not None
        }

    def load_state_dict(self, state: dict) -> None:
        """Hold exactly what :meth:`state_dict` gave."""
        self._waiting = SyntheticBatch(**state) if state else None
