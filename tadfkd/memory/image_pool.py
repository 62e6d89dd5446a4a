"""Images that the student trains on again and again."""
from typing import Any, Literal

import torch
from torch import Tensor

from tadfkd.memory.ring_buffer import RingBuffer
from tadfkd.utils.errors import UserError


class ImagePool(RingBuffer):
    """Keeps the newest ``capacity`` images of a run, on the CPU; it is given
    images_BCHW, float in [0, 1].

    Nothing is read from or left on the disk: the pool of a run is its own,
    and is saved with its checkpoints.

    Args:
        capacity: Images, >= 1.
        dtype: ``'float32'`` keeps images as they are; ``'uint8'`` takes a
            quarter of the memory and rounds to the 256 values of an image
            file.
        memory_mapped: See :class:`RingBuffer`.
    """

    def __init__(self,
                 capacity: int,
                 dtype: Literal['float32', 'uint8'] = 'float32',
                 memory_mapped: bool = False) -> None:
        super().__init__(capacity, memory_mapped, owner='model.pool')
        if dtype not in ('float32', 'uint8'):
            raise UserError("dtype must be 'float32' or 'uint8', got "
                            f'{dtype!r}: set model.pool.dtype')
        self.dtype = dtype

    def sample(self, size: int, stream: torch.Generator) -> Tensor:
        """``size`` images_BCHW, float in [0, 1], on the CPU."""
        return self._as_float(super().sample(size, stream))

    def rows(self) -> Tensor:
        """All images, float in [0, 1], the oldest first."""
        return self._as_float(super().rows())

    def load_state_dict(self, state: dict) -> None:
        """See :meth:`RingBuffer.load_state_dict`.

        Raises:
            UserError: If the images were stored as another dtype.
        """
        saved = str(state['rows'].dtype).removeprefix(
            'torch.') if state else self.dtype
        if saved != self.dtype:
            raise UserError(
                f'the checkpoint holds a pool of {saved} images, and '
                f'model.pool.dtype is {self.dtype!r}: resume with the dtype '
                'that it was saved with')
        super().load_state_dict(state)

    def _encode(self, rows: Tensor) -> Tensor:
        return (rows * 255).round().byte() if self.dtype == 'uint8' else rows

    def _as_float(self, rows: Tensor) -> Tensor:
        return rows.float() / 255 if self.dtype == 'uint8' else rows

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> 'ImagePool':
        """A pool of ``model.pool``.

        Raises:
            UserError: If the config has something that no pool has.
        """
        try:
            return cls(**config)
        except TypeError as error:
            raise UserError(f'model.pool cannot be used ({error}): it takes '
                            'capacity, dtype and memory_mapped') from error
