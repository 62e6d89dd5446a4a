"""Which classes and functions a checkpoint may name beside tensors."""
import argparse
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer


def _history_method(owner: type, name: str) -> Callable:
    """Replaces ``getattr`` in a checkpoint.

    mmengine stores the four statistics of a log history by name, so the name
    ``getattr`` must be allowed. The real ``getattr`` would return anything
    that can be reached from an allowed class.
    """
    if owner is not HistoryBuffer or name not in ('min', 'max', 'mean',
                                                  'current'):
        raise pickle.UnpicklingError('GLOBAL builtins.getattr')
    return getattr(owner, name)


def data_globals() -> dict[str, Any]:
    """Classes and functions that hold data, by their names in the file.

    They are needed for mmengine's log histories, which contain NumPy arrays,
    and for the settings that timm and torchvision's scripts save as
    ``args``.
    """
    known: dict[str, Any] = {
        'mmengine.logging.history_buffer.HistoryBuffer': HistoryBuffer,
        'argparse.Namespace': argparse.Namespace,
        'builtins.getattr': _history_method,
        'numpy.ndarray': np.ndarray,
        'numpy.dtype': np.dtype,
    }
    # NumPy 2 renamed the module. Files contain either name.
    core = getattr(np, '_core', None) or np.core
    for module in ('numpy.core', 'numpy._core'):
        for name in ('_reconstruct', 'scalar'):
            known[f'{module}.multiarray.{name}'] = getattr(
                core.multiarray, name)
    # Objects and records are not numbers.
    for name in dir(np.dtypes):
        if name.endswith('DType') and name not in ('ObjectDType', 'VoidDType'):
            known[f'numpy.dtypes.{name}'] = getattr(np.dtypes, name)
    return known


def load_restricted(path: Path) -> Any:
    """``torch.load(weights_only=True)`` that also accepts the data globals.

    Args:
        path: A file that :func:`tadfkd.checkpoints.inspection.inspect` has
            accepted.

    Returns:
        The content of the file, with all tensors on the CPU.

    Raises:
        pickle.UnpicklingError: If the file needs other classes or functions;
            the message contains ``GLOBAL`` and the name.
    """
    allowed: list[Any] = [(value, name)
                          for name, value in data_globals().items()]
    with torch.serialization.safe_globals(allowed):
        return torch.load(path, map_location='cpu', weights_only=True)
