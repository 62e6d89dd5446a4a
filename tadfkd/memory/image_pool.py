"""Images that the student trains on again and again."""
from typing import Literal

import torch
from torch import Tensor

from tadfkd.errors import UserError, require_choice
from tadfkd.memory.ring_buffer import RingBuffer


class ImagePool(RingBuffer):
    """The newest ``capacity`` images_BCHW of a run, float in [0, 1], on the
    CPU.

    A checkpoint of the run holds the whole pool, and resuming restores it. The
    pool writes no image files.

    Args:
        capacity: Number of images, >= 1.
        dtype: ``'float32'`` keeps images as they are. ``'uint8'`` takes a
            quarter of the memory, and clips and rounds to the 256 values of
            an image file.
        memory_mapped: See :class:`RingBuffer`.
    """

    def __init__(self,
                 capacity: int,
                 dtype: Literal['float32', 'uint8'] = 'float32',
                 memory_mapped: bool = False) -> None:
        super().__init__(capacity, memory_mapped, owner='model.pool')
        require_choice('model.pool', 'dtype', dtype, ('float32', 'uint8'))
        self.dtype = dtype

    def take(self, places_M: Tensor) -> Tensor:
        """See :meth:`RingBuffer.take`; images_BCHW, float in [0, 1]."""
        return self._as_float(super().take(places_M))

    def sample(self, size: int, stream: torch.Generator) -> Tensor:
        """See :meth:`RingBuffer.sample`; images_BCHW, float in [0, 1]."""
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
        if self.dtype == 'uint8':
            return (rows.clamp(0, 1) * 255).round().byte()
        return rows

    def _as_float(self, rows: Tensor) -> Tensor:
        return rows.float() / 255 if self.dtype == 'uint8' else rows
