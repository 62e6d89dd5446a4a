"""Bounded storage in which the newest replaces the oldest."""
import math
import tempfile

import torch
from torch import Tensor

from tadfkd.errors import UserError, require_at_least


def finite_rows(rows: Tensor) -> Tensor:
    """Of each row, whether all of it is finite."""
    return rows.flatten(1).isfinite().all(1)


class RingBuffer:
    """Keeps the newest ``capacity`` rows of a tensor, on the CPU.

    Args:
        capacity: Rows that are kept, >= 1.
        memory_mapped: Whether the rows lie in a file without a name, which
            the system may write out of memory and which is gone with the
            process. No other run ever sees it.
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
        """Store rows, detached; the oldest make room. One that is not finite
        is not stored: it would spoil a step each time that it is drawn."""
        rows = rows.detach()[-self.capacity:].cpu()
        rows = self._accept(rows[finite_rows(rows)])
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

    def sample(self, size: int, stream: torch.Generator) -> Tensor:
        """``size`` rows, each drawn from all, on the CPU.

        Args:
            size: Number of rows.
            stream: A generator of the CPU.
        """
        return self.at(self._places(size, stream))

    def at(self, places: Tensor) -> Tensor:
        """The rows in places that :meth:`sample` could have drawn."""
        assert self._rows is not None
        return self._rows[places]

    def rows(self) -> Tensor:
        """All rows, the oldest first."""
        assert self._rows is not None and self._length > 0, 'nothing stored'
        if self._length < self.capacity:
            return self._rows[:self._length]
        return self._rows.roll(-self._next, 0)

    def clear(self) -> None:
        """Forget everything."""
        self._next = self._length = 0

    def state_dict(self) -> dict:
        """What is stored, as plain tensors and numbers."""
        if self._rows is None or self._length == 0:
            return {}
        return dict(rows=self._rows[:self._length].clone(), next=self._next)

    def load_state_dict(self, state: dict) -> None:
        """Hold exactly what :meth:`state_dict` gave.

        Raises:
            UserError: If it does not fit into this buffer.
        """
        self._rows = None
        self.clear()
        if not state:
            return
        rows, next_ = state['rows'], state['next']
        if next_ is None:
            # Of another number of processes, see reshard_states.
            rows = rows[-self.capacity:]
            next_ = len(rows) % self.capacity
        full = len(rows) == self.capacity
        if not full and next_ != len(rows) or len(rows) > self.capacity:
            raise UserError(
                f'the checkpoint holds {len(rows)} stored samples of a buffer '
                f'of another capacity than {self.capacity}: resume with the '
                'capacity that it was saved with')
        self._rows = self._allocate(rows)
        self._rows[:len(rows)] = rows
        self._next, self._length = next_, len(rows)

    def _places(self, size: int, stream: torch.Generator) -> Tensor:
        assert self._length > 0, 'nothing stored'
        return torch.randint(self._length, (size, ), generator=stream)

    def _accept(self, rows: Tensor) -> Tensor:
        """Those of finite rows that are stored, at once after this."""
        return rows

    def _encode(self, rows: Tensor) -> Tensor:
        """Finite rows, in the form that they are stored in."""
        return rows

    def _allocate(self, like: Tensor) -> Tensor:
        shape = (self.capacity, *like.shape[1:])
        if not self.memory_mapped:
            return torch.empty(shape, dtype=like.dtype)
        with tempfile.NamedTemporaryFile(prefix='tadfkd_') as file:
            file.truncate(math.prod(shape) * like.element_size())
            # Mapped files stay readable after their name is gone.
            rows = torch.from_file(
                file.name,
                shared=True,
                size=math.prod(shape),
                dtype=like.dtype)
        return rows.view(shape)
