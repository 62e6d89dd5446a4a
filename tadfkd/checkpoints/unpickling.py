"""What a checkpoint may hold beside numbers, text and plain containers."""
import argparse
import pickle
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.utils import digit_version

#: What tensors and containers are made of, and torch reads by itself.
TORCH_GLOBALS = frozenset({
    '_codecs.encode', 'builtins.set', 'collections.Counter',
    'collections.OrderedDict', 'torch.Size', 'torch.device',
    'torch._utils._rebuild_parameter', 'torch._utils._rebuild_tensor',
    'torch._utils._rebuild_tensor_v2', 'torch._utils._rebuild_tensor_v3'
} | {
    str(value)
    for value in vars(torch).values() if isinstance(value, torch.dtype)
})


def _history_method(owner: type, name: str) -> Callable:
    """What stands in for ``getattr`` in a checkpoint: nothing but the four
    statistics of a log history, which mmengine stores by name.

    The real ``getattr`` would hand out anything reachable from a trusted
    class, which later code might call.
    """
    if owner is not HistoryBuffer or name not in ('min', 'max', 'mean',
                                                  'current'):
        raise pickle.UnpicklingError('GLOBAL builtins.getattr')
    return getattr(owner, name)


def data_globals() -> dict[str, Any]:
    """Classes and functions that are data too, by their names in the file.

    mmengine's log histories, which are NumPy arrays, and the settings that
    timm and the scripts of torchvision store as ``args``.
    """
    known: dict[str, Any] = {
        'mmengine.logging.history_buffer.HistoryBuffer': HistoryBuffer,
        'argparse.Namespace': argparse.Namespace,
        'builtins.getattr': _history_method,
        'numpy.ndarray': np.ndarray,
        'numpy.dtype': np.dtype,
    }
    # NumPy 2 renamed the module; files have either name.
    core = getattr(np, '_core', None) or np.core
    for module in ('numpy.core', 'numpy._core'):
        for name in ('_reconstruct', 'scalar'):
            known[f'{module}.multiarray.{name}'] = getattr(
                core.multiarray, name)
    # NumPy has had them since 1.25. Objects and records are no numbers.
    dtypes = getattr(np, 'dtypes', None)
    for name in dir(dtypes):
        if name.endswith('DType') and name not in ('ObjectDType', 'VoidDType'):
            known[f'numpy.dtypes.{name}'] = getattr(dtypes, name)
    return known


def python_3_name(module: str, name: str) -> str:
    """The full name of a global, with Python 2's name of ``builtins``."""
    return f'{"builtins" if module == "__builtin__" else module}.{name}'


def is_storage(full_name: str) -> bool:
    """Whether a global is one of torch's kinds of storage."""
    module, _, name = full_name.rpartition('.')
    return module in ('torch', 'torch.cuda',
                      'torch.storage') and name.endswith('Storage')


class _RestrictedUnpickler(pickle._Unpickler):
    """For versions of torch whose own restricted unpickler takes no list.

    The unpickler in Python, because the one in C allots memory for the
    highest number that the file gives to an object.
    """

    def find_class(self, module: str, name: str) -> Any:
        """Look up a global that the file names."""
        full_name = python_3_name(module, name)
        known = data_globals().get(full_name)
        if known is not None:
            return known
        if full_name in TORCH_GLOBALS or is_storage(full_name):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f'GLOBAL {full_name}')


#: What ``torch.load`` takes as ``pickle_module``.
_restricted_pickle = types.SimpleNamespace(
    __name__='restricted_pickle',
    Unpickler=_RestrictedUnpickler,
    load=lambda file, **options: _RestrictedUnpickler(file, **options).load())


def _torch_takes_a_list() -> bool:
    """Whether torch's own restricted unpickler can be told what to trust."""
    return digit_version(torch.__version__) >= digit_version('2.7')


def load_restricted(path: Path, map_location: Any) -> Any:
    """``torch.load`` that runs no code, with what torch has for that.

    Args:
        path: A file that :func:`tadfkd.checkpoints.inspection.inspect` has
            passed.
        map_location: As ``torch.load`` takes it.

    Returns:
        What the file holds.

    Raises:
        pickle.UnpicklingError: If that needs code; the message has
            ``GLOBAL`` and its name.
    """
    if not _torch_takes_a_list():
        return torch.load(
            path,
            map_location=map_location,
            pickle_module=_restricted_pickle,
            weights_only=False)
    listed: list[Any] = [(value, name)
                         for name, value in data_globals().items()]
    with torch.serialization.safe_globals(listed):
        return torch.load(path, map_location=map_location, weights_only=True)
