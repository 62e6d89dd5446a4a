"""Random streams that a run owns, and the state of the global generators.

This package draws from its own streams. Dropout, data loaders and transforms
of other packages draw from the global generators.
"""
import hashlib
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tadfkd.errors import UserError

_CPU = torch.device('cpu')


class RandomStreams:
    """One ``torch.Generator`` per purpose, seeded by run, purpose and rank.

    Streams do not depend on each other or on the global generators. Drawing
    more latents does not change the augmentation, and neither does an
    evaluation in between.

    Args:
        seed: The seed of the run, any whole number.
        rank: The rank of the process; ranks draw different numbers.
    """

    def __init__(self, seed: int, rank: int = 0) -> None:
        self.seed = seed
        self.rank = rank
        self._streams: dict[str, torch.Generator] = {}
        self._restored: dict[str, Tensor] = {}

    def fresh(self,
              purpose: str,
              device: torch.device = _CPU,
              shared: bool = False) -> torch.Generator:
        """A new stream at its start, with the same numbers at each call.

        Args:
            purpose: Name of the stream.
            device: Device of the generator.
            shared: Whether all processes draw the same numbers.
        """
        rank = 'all' if shared else self.rank
        digest = hashlib.sha256(
            f'{self.seed}/{purpose}/{rank}'.encode()).digest()
        generator = torch.Generator(device)
        generator.manual_seed(int.from_bytes(digest[:8], 'big') >> 1)
        return generator

    def get(self,
            purpose: str,
            device: torch.device = _CPU,
            shared: bool = False) -> torch.Generator:
        """The stream of ``purpose``, at the position of its last draw.

        The arguments are those of :meth:`fresh`.

        Raises:
            UserError: If the position was saved on another kind of device.
        """
        if purpose not in self._streams:
            stream = self.fresh(purpose, device, shared)
            if purpose in self._restored:
                try:
                    stream.set_state(self._restored.pop(purpose))
                except RuntimeError as error:
                    raise UserError(
                        'the checkpoint was saved on another kind of device '
                        f'than {device.type}, whose random numbers differ: '
                        'resume on that kind, or use load_from') from error
            self._streams[purpose] = stream
        return self._streams[purpose]

    def state_dict(self) -> dict[str, Tensor]:
        """The position of every stream, as byte tensors on the CPU."""
        return self._restored | {
            purpose: stream.get_state()
            for purpose, stream in self._streams.items()
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from the positions that :meth:`state_dict` returned."""
        self._streams.clear()
        self._restored = {
            purpose: position.cpu()
            for purpose, position in state.items()
        }


def global_random_state() -> dict[str, Any]:
    """The states of all global generators, as plain values and tensors."""
    numpy_state: dict[str, Any] = np.random.get_state(legacy=False)
    return dict(
        python=random.getstate(),
        numpy=numpy_state,
        torch=torch.get_rng_state(),
        cuda=torch.cuda.get_rng_state_all()
        if torch.cuda.is_initialized() else [])


def set_global_random_state(state: dict[str, Any]) -> None:
    """Restore the states that :func:`global_random_state` returned.

    The generators of GPUs are not changed if their number differs now.
    """
    version, keys, gauss = state['python']
    random.setstate((version, tuple(keys), gauss))
    np.random.set_state(state['numpy'])
    torch.set_rng_state(state['torch'].cpu())
    if torch.cuda.is_available() and \
            len(state['cuda']) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([one.cpu() for one in state['cuda']])
