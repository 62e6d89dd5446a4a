"""The random numbers of everybody: of Python, NumPy and torch.

What this package draws comes from streams of its own
(:mod:`tadfkd.utils.randomness`). Dropout, data loaders and the transforms
of other packages draw from these.
"""
import random
from typing import Any

import numpy as np
import torch


def global_random_state() -> dict[str, Any]:
    """Where all global generators stand, as plain values and tensors."""
    numpy_state: dict[str, Any] = np.random.get_state(legacy=False)
    return dict(
        python=random.getstate(),
        numpy=numpy_state,
        torch=torch.get_rng_state(),
        cuda=torch.cuda.get_rng_state_all()
        if torch.cuda.is_initialized() else [])


def set_global_random_state(state: dict[str, Any]) -> None:
    """Go on from what :func:`global_random_state` gave.

    The generators of GPUs are left alone if there are not as many now.
    """
    version, keys, gauss = state['python']
    random.setstate((version, tuple(keys), gauss))
    np.random.set_state(state['numpy'])
    torch.set_rng_state(state['torch'].cpu())
    if torch.cuda.is_available() and \
            len(state['cuda']) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([one.cpu() for one in state['cuda']])
