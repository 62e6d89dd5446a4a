"""Bounded storage in which the newest rows replace the oldest."""
import math
import tempfile

import torch
from torch import Tensor

from tadfkd.errors import UserError, require_at_least


class RingBuffer:
    """The newest ``capacity`` rows of a tensor, on the CPU.

    Args:
        capacity: Number of rows, >= 1.
        memory_mapped: Whether the rows lie in an unnamed file, which the
            system may page out of memory. The file is gone with the process.
        owner: The config path of the buffer, for messages.
    """

    def __init__(self,
                 capacity: int,
                 memory_mapped: bool = False,
                 owner: str = 'the RingBuffer') -> None:
        require_at_least(owner, 'capacity', capacity, 1)
        self.capacity = capacity
        self.memory_mapped = memory_mapped
        self._rows: Tensor | None = None
        self._next = 0
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, rows: Tensor) -> None:
        """Store rows, detached, in place of the oldest ones.

        A row that is not finite is left out: it would spoil each step that
        draws it.
        """
        rows = rows.detach()[-self.capacity:].cpu()
        rows = rows[rows.flatten(1).isfinite().all(1)]
        if len(rows) == 0:
            return
        rows = self._encode(rows)
        if self._rows is None:
            self._rows = self._allocate(rows)
        assert rows.shape[1:] == self._rows.shape[1:]
        places = (self._next + torch.arange(len(rows))) % self.capacity
        self._rows[places] = rows.to(self._rows.dtype)
        self._next = int(self._next + len(rows)) % self.capacity
        self._length = min(self.capacity, self._length + len(rows))

    def take(self, places_M: Tensor) -> Tensor:
        """The rows at ``places_M``, on the CPU: 0 is the oldest row, and -1
        the newest."""
        assert self._rows is not None and self._length > 0, 'nothing stored'
        oldest = self._next if self._length == self.capacity else 0
        return self._rows[(oldest + places_M) % self._length]

    def sample(self, size: int, stream: torch.Generator) -> Tensor:
        """``size`` rows, drawn with replacement, on the CPU.

        Args:
            size: Number of rows.
            stream: A generator of the CPU.
        """
        assert self._rows is not None and self._length > 0, 'nothing stored'
        return self._rows[torch.randint(
            self._length, (size, ), generator=stream)]

    def sample_distinct(self, size: int, stream: torch.Generator) -> Tensor:
        """``size`` rows, drawn without replacement, on the CPU; all rows in
        random order if fewer are stored.

        Args:
            size: Number of rows at most.
            stream: A generator of the CPU.
        """
        assert self._rows is not None and self._length > 0, 'nothing stored'
        return self._rows[torch.randperm(self._length,
                                         generator=stream)[:size]]

    def rows(self) -> Tensor:
        """All rows, the oldest first."""
        assert self._rows is not None and self._length > 0, 'nothing stored'
        if self._length < self.capacity:
            return self._rows[:self._length]
        return self._rows.roll(-self._next, 0)

    def clear(self) -> None:
        """Remove all rows."""
        self._next = self._length = 0

    def state_dict(self) -> dict:
        """The stored rows, as plain tensors and numbers."""
        if self._rows is None or self._length == 0:
            return {}
        return dict(rows=self._rows[:self._length].clone(), next=self._next)

    def load_state_dict(self, state: dict) -> None:
        """Store exactly the rows of :meth:`state_dict`.

        Raises:
            UserError: If the rows do not fit into this buffer.
        """
        self._rows = None
        self.clear()
        if not state:
            return
        rows, next_ = state['rows'], state['next']
        full = len(rows) == self.capacity
        if not full and next_ != len(rows) or len(rows) > self.capacity:
            raise UserError(
                f'the checkpoint holds {len(rows)} stored samples of a buffer '
                f'of another capacity than {self.capacity}: resume with the '
                'capacity that it was saved with')
        self._rows = self._allocate(rows)
        self._rows[:len(rows)] = rows
        self._next, self._length = next_, len(rows)

    def _encode(self, rows: Tensor) -> Tensor:
        """Finite rows, in the form in which they are stored."""
        return rows

    def _allocate(self, like: Tensor) -> Tensor:
        shape = (self.capacity, *like.shape[1:])
        if not self.memory_mapped:
            return torch.empty(shape, dtype=like.dtype)
        with tempfile.NamedTemporaryFile(prefix='tadfkd_') as file:
            file.truncate(math.prod(shape) * like.element_size())
            # A mapped file stays readable after its name is removed.
            rows = torch.from_file(
                file.name,
                shared=True,
                size=math.prod(shape),
                dtype=like.dtype)
        return rows.view(shape)
