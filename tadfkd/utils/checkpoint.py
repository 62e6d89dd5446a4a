"""Reading checkpoints: restricted unpickling, and every key accounted for."""
import os
import pickle
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from mmengine.utils import digit_version
from torch import Tensor, nn

from tadfkd.utils.errors import UserError


def _history_method(owner: type, name: str) -> Callable:
    """What stands in for ``getattr`` in a checkpoint: nothing but the four
    statistics of a log history, which mmengine stores by name.

    The real ``getattr`` would hand out anything reachable from a trusted
    class, which later code might call.
    """
    if owner is not HistoryBuffer or name not in ('min', 'max', 'mean',
                                                  'current'):
        raise pickle.UnpicklingError(f'GLOBAL builtins.getattr({owner!r}, '
                                     f'{name!r})')
    return getattr(owner, name)


def _trusted_globals() -> dict[str, Any]:
    """What mmengine's checkpoints hold beside tensors and plain containers:
    log histories, which are NumPy arrays. By the names in the file."""
    trusted: dict[str, Any] = {
        'mmengine.logging.history_buffer.HistoryBuffer': HistoryBuffer,
        'builtins.getattr': _history_method,
        '__builtin__.getattr': _history_method,
        'numpy.ndarray': np.ndarray,
        'numpy.dtype': np.dtype,
    }
    # NumPy 2 renamed the module; files have either name.
    core = getattr(np, '_core', None) or np.core
    for module in ('numpy.core', 'numpy._core'):
        for name in ('_reconstruct', 'scalar'):
            trusted[f'{module}.multiarray.{name}'] = getattr(
                core.multiarray, name)
    # NumPy has had them since 1.25.
    dtypes = getattr(np, 'dtypes', None)
    for name in dir(dtypes):
        if name.endswith('DType'):
            trusted[f'numpy.dtypes.{name}'] = getattr(dtypes, name)
    return trusted


class _RestrictedUnpickler(pickle.Unpickler):
    """For versions of torch whose own restricted unpickler takes no list."""

    TENSORS = {
        'collections.OrderedDict', 'torch._utils._rebuild_tensor_v2',
        'torch._utils._rebuild_parameter', 'torch.Size', 'torch.device',
        '_codecs.encode'
    }

    def find_class(self, module: str, name: str) -> Any:
        """Look up a global that the file names."""
        full_name = f'{module}.{name}'
        trusted = _trusted_globals().get(full_name)
        if trusted is not None:
            return trusted
        is_storage = module == 'torch' and name.endswith('Storage')
        if full_name in self.TENSORS or is_storage:
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


def _load(path: Path, map_location: str | torch.device) -> Any:
    """``torch.load`` that runs no code, with what torch has for that."""
    if not _torch_takes_a_list():
        return torch.load(
            path,
            map_location=map_location,
            pickle_module=_restricted_pickle,
            weights_only=False)
    trusted: list[Any] = [(value, name)
                          for name, value in _trusted_globals().items()]
    with torch.serialization.safe_globals(trusted):
        return torch.load(path, map_location=map_location, weights_only=True)


def read_checkpoint(path: str | os.PathLike,
                    map_location: str | torch.device = 'cpu',
                    *,
                    trusted=False) -> dict:
    """Read a local checkpoint file without running any code in it.

    Args:
        path: A file written by ``torch.save``.
        map_location: Where the tensors go.

    Returns:
        The dictionary in the file.

    Raises:
        UserError: If the file is missing, unreadable, holds anything but
            data, or no dictionary.
    """
    if '://' in os.fspath(path):
        raise UserError(f'checkpoint {path} is a URL: download it, and name '
                        'the file')
    path = Path(path).expanduser()
    if not path.is_file():
        what = 'is a directory' if path.is_dir() else 'does not exist'
        raise UserError(f'checkpoint {path} {what}: name a file written by '
                        'torch.save')
    try:
        checkpoint = _load(path, map_location)
    except pickle.UnpicklingError as error:
        reason = str(error).strip()
        if 'GLOBAL' in reason:
            offender = reason.partition('GLOBAL ')[2].split()[0]
            raise UserError(
                f'checkpoint {path} was refused because it holds {offender}, '
                'which is code and not data: save a plain state dict'
            ) from None
        raise UserError(f'checkpoint {path} cannot be read (damaged, or not '
                        'written by torch.save): make it anew') from None
    except Exception as error:
        # The bytes are anybody's: there is no telling what the parsers of
        # zip, tar and pickle stumble over.
        reason = str(error).strip().partition('\n')[0]
        raise UserError(f'checkpoint {path} cannot be read '
                        f'({reason or type(error).__name__}): '
                        'make it anew') from error
    if not isinstance(checkpoint, dict):
        raise UserError(f'checkpoint {path} holds a '
                        f'{type(checkpoint).__name__}, not a dictionary: save '
                        'a state dict')
    return checkpoint


def load_weights(module: nn.Module, weights: Mapping[str, Tensor],
                 source: str) -> None:
    """Load a state dict of which every key must fit.

    Args:
        module: Gets the weights.
        weights: A plain state dict.
        source: Where they are from, for the message.

    Raises:
        UserError: If a key is missing, unexpected, or of another shape;
            ``module`` is unchanged then.
    """
    if not all(
            isinstance(key, str) and isinstance(value, Tensor)
            for key, value in weights.items()):
        raise UserError(f'{source} holds other things than named tensors: '
                        'save a state dict, or put it under "state_dict"')
    own = module.state_dict()
    missing = {
        key
        # Batch norm's counter was added late to torch and steers nothing
        # where the momentum is fixed: old files may lack it.
        for key in own.keys() - weights.keys()
        if not key.endswith('num_batches_tracked')
    }
    problems = []
    for problem, keys in (('missing', missing), ('unexpected',
                                                 weights.keys() - own.keys()),
                          ('of another shape', {
                              key
                              for key in own.keys() & weights.keys()
                              if own[key].shape != weights[key].shape
                          })):
        if keys:
            shown = ', '.join(sorted(keys)[:3])
            more = ', ...' if len(keys) > 3 else ''
            problems.append(f'{len(keys)} {problem} ({shown}{more})')
    if problems:
        raise UserError(f'{source} does not fit the network: of '
                        f'{len(own)} tensors, {"; ".join(problems)}: name the '
                        'checkpoint of this very architecture and class '
                        'count')
    module.load_state_dict(weights, strict=False)


def use_restricted_unpickling() -> None:
    """Make mmengine read local checkpoints by :func:`read_checkpoint`.

    By itself it calls ``torch.load`` with the defaults of the installed
    torch: older ones run whatever the file says, newer ones refuse
    mmengine's own checkpoints.
    """
    CheckpointLoader.register_scheme('', _load_for_mmengine, force=True)


def _load_for_mmengine(filename: str, map_location: str | None = None) -> dict:
    return read_checkpoint(filename, map_location or 'cpu')
