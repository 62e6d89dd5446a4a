"""Images that the student trains on again and again."""
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.memory.ring_buffer import RingBuffer, finite_rows


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
        answer: Gives the teacher's logits for images_BCHW, to be kept with
            the images instead of asked for whenever they are drawn; None
            keeps none. An image without finite ones is not stored.
    """

    def __init__(self,
                 capacity: int,
                 dtype: Literal['float32', 'uint8'] = 'float32',
                 memory_mapped: bool = False,
                 answer: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__(capacity, memory_mapped, owner='model.pool')
        if dtype not in ('float32', 'uint8'):
            raise UserError("dtype must be 'float32' or 'uint8', got "
                            f'{dtype!r}: set model.pool.dtype')
        self.dtype = dtype
        self.answer = answer
        self.answers = RingBuffer(capacity)

    def draw(self, size: int,
             stream: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """As :meth:`sample`, with the logits that were kept, if any are."""
        places = self._places(size, stream)
        return self.at(places), \
            None if self.answer is None else self.answers.at(places)

    def at(self, places: Tensor) -> Tensor:
        """Images_BCHW, float in [0, 1], on the CPU."""
        return self._as_float(super().at(places))

    def rows(self) -> Tensor:
        """All images, float in [0, 1], the oldest first."""
        return self._as_float(super().rows())

    def clear(self) -> None:
        """See :meth:`RingBuffer.clear`."""
        super().clear()
        self.answers.clear()

    def state_dict(self) -> dict:
        """See :meth:`RingBuffer.state_dict`."""
        state = super().state_dict()
        if state and self.answer is not None:
            state['answers'] = self.answers.state_dict()
        return state

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
        if self.answer is None or self._rows is None:
            return
        answers = state.get('answers')
        if not answers:
            # Of a run that kept none, or of other processes.
            images_BCHW = self._as_float(self._rows[:len(self)])
            rows = [self.answer(part).cpu() for part in images_BCHW.split(256)]
            answers = dict(rows=torch.cat(rows), next=self._next)
        self.answers.load_state_dict(answers)

    def _accept(self, rows: Tensor) -> Tensor:
        if self.answer is None or len(rows) == 0:
            return rows
        # To the images as they will be drawn.
        answers = self.answer(self._as_float(self._encode(rows))).cpu()
        self.answers.add(answers)
        return rows[finite_rows(answers)]

    def _encode(self, rows: Tensor) -> Tensor:
        return (rows * 255).round().byte() if self.dtype == 'uint8' else rows

    def _as_float(self, rows: Tensor) -> Tensor:
        return rows.float() / 255 if self.dtype == 'uint8' else rows

    @classmethod
    def from_config(
            cls,
            config: dict[str, Any],
            answer: Callable[[Tensor], Tensor] | None = None) -> 'ImagePool':
        """A pool of ``model.pool``.

        Args:
            config: All arguments but ``answer``.
            answer: See the class.

        Raises:
            UserError: If the config has something that no pool has.
        """
        try:
            return cls(**config, answer=answer)
        except TypeError as error:
            raise UserError(f'model.pool cannot be used ({error}): it takes '
                            'capacity, dtype and memory_mapped') from error
