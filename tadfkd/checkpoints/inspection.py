"""Looking through a checkpoint before anything in it is built.

The pickle in the file is run on stand-ins, which have no effect and take no
memory. That tells which classes it names and how much memory it claims, and
a file that claims more than it holds is refused before any is allotted.
``torch.load`` believes such claims: it allots what a record unpacks to, and
its older versions read on beyond a record that is shorter than its storage.
"""
import math
import pickle
import re
import struct
import tarfile
from pathlib import Path
from typing import Any, BinaryIO

import torch

from tadfkd.checkpoints.unpickling import (TORCH_GLOBALS, data_globals,
                                           is_storage, python_3_name)
from tadfkd.checkpoints.zip_records import find_records

# Booleans, numbers, dates and text, not objects or records.
_PLAIN_DTYPE = re.compile(r'[<>|=]?[?biufcmMSU]\d*')
# What is filled with something after it has been made.
_WITH_STATE = {
    'argparse.Namespace', 'collections.Counter', 'collections.OrderedDict',
    'mmengine.logging.history_buffer.HistoryBuffer', 'numpy.dtype',
    'numpy.core.multiarray._reconstruct', 'numpy._core.multiarray._reconstruct'
}


class _StandIn:
    """In place of whatever the file would call or build."""

    full_name = ''
    inspector: '_Inspector'

    def __new__(cls, *arguments: Any) -> '_StandIn':
        """What a call in the file gives."""
        _check_call(cls.full_name, arguments)
        if cls.full_name.startswith('torch._utils._rebuild_tensor'):
            cls.inspector.viewed += math.prod(arguments[2])
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Whatever a file sets on an object that it has made."""
        if self.full_name not in _WITH_STATE:
            raise ValueError(f'it changes a {self.full_name}')
        # NumPy believes what a type says about itself.
        if self.full_name == 'numpy.dtype' and (state[2:5] != (None, ) * 3
                                                or state[7] not in (0, 8)):
            raise pickle.UnpicklingError('GLOBAL numpy.dtype of objects')

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """For what stands for a list."""

    extend = append


class _Storage(int):
    """In place of a storage of so many numbers; a file cannot change it."""

    __slots__ = ()


def _check_call(name: str, arguments: tuple) -> None:
    """Refuse calls whose result takes more memory than the file has."""
    if name.startswith('torch._utils._rebuild_tensor'):
        storage, offset, shape, strides = arguments[:4]
        if not isinstance(storage, _Storage):
            raise ValueError('a tensor has no storage')
        needed = 0
        if 0 not in shape:
            last = sum((length - 1) * stride
                       for length, stride in zip(shape, strides, strict=True))
            needed = offset + last + 1
        # With strides of zero a tensor is of any size; to copy it takes that.
        if needed > storage or min((*shape, *strides, offset, 0)) < 0 \
                or math.prod(shape) > max(storage, 2**20):
            raise ValueError(f'a tensor of shape {tuple(shape)} does not fit '
                             f'its storage of {storage} numbers')
    elif name == 'numpy.dtype':
        # Not a copy would be the type that everybody uses.
        if not _PLAIN_DTYPE.fullmatch(arguments[0]) or arguments[1:] != (False,
                                                                         True):
            raise pickle.UnpicklingError('GLOBAL numpy.dtype of objects')
    elif name.endswith('multiarray._reconstruct'):
        if arguments[1] != (0, ):
            raise ValueError('an array has a size before its content')
    elif name == 'numpy.ndarray' or is_storage(name):
        raise pickle.UnpicklingError(f'GLOBAL {name}')


class _Inspector(pickle._Unpickler):
    """Runs a pickle on stand-ins.

    Attributes:
        claims: Bytes by storage key.
        lengths: Numbers by storage key.
        viewed: Numbers in all tensors together, however many share them.
    """

    # These allot what they are told to before they look at the file.
    dispatch = {
        code: method
        for code, method in pickle._Unpickler.dispatch.items()
        if code != pickle.BYTEARRAY8[0]
    }

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding='utf-8')
        self.claims: dict[str, int] = {}
        self.lengths: dict[str, int] = {}
        self.viewed = 0
        self.allowed = TORCH_GLOBALS | {
            # Types of NumPy are made by numpy.dtype.
            name
            for name in data_globals() if not name.startswith('numpy.dtypes.')
        }

    def find_class(self, module: str, name: str) -> type[_StandIn]:
        """A stand-in for a global that may be in a checkpoint."""
        full_name = python_3_name(module, name)
        if not full_name.replace('.', '').isidentifier():
            raise pickle.UnpicklingError('text, or damaged')
        if full_name not in self.allowed and not is_storage(full_name):
            raise pickle.UnpicklingError(f'GLOBAL {full_name}')
        return type(name, (_StandIn, ),
                    dict(full_name=full_name, inspector=self))

    def persistent_load(self, pid: Any) -> _Storage:
        """Note what a storage claims."""
        label, kind, key, _, size, *view = pid
        if label != 'storage' or not isinstance(key, str) \
                or not is_storage(kind.full_name) or not size >= 0:
            raise ValueError('a storage is not described as torch.save does')
        kind_name = kind.__name__
        item_size = 1 if kind_name == 'UntypedStorage' else \
            torch.serialization.StorageType(kind_name).dtype.itemsize
        claim = size * item_size
        if self.claims.setdefault(key, claim) != claim:
            raise ValueError(f'it claims two sizes of storage {key}')
        self.lengths[key] = min(size, self.lengths.get(key, size))
        if any(view):
            _, offset, view_size = view[0]
            if not 0 <= offset <= offset + view_size <= size:
                raise ValueError('a storage is larger than the one it views')
            size = view_size
        return _Storage(size)

    def check_views(self) -> None:
        """Refuse tensors that together are far more than their storages.

        They take no memory, but whoever copies or converts them takes it for
        every one. Tied and averaged weights are in a file a few times.
        """
        held = sum(self.lengths.values())
        if self.viewed > 4 * held + 2**22:
            raise ValueError(f'its tensors have {self.viewed} numbers over '
                             f'storages of {held}')


def _inspect_zip(file: BinaryIO, size: int) -> None:
    records = find_records(file, size)
    root = next(iter(records), '').partition('/')[0]
    pickled = records.get(f'{root}/data.pkl')
    if pickled is None:
        raise ValueError('it has no data.pkl, as torch.save writes it')
    file.seek(pickled.header_offset + 26)
    file.seek(sum(struct.unpack('<2H', file.read(4))), 1)
    file_end = file.tell() + pickled.file_size
    inspector = _Inspector(file)
    inspector.load()
    inspector.check_views()
    if file.tell() > file_end:
        raise ValueError('data.pkl is longer than its record')
    for key, claim in inspector.claims.items():
        record = records.get(f'{root}/data/{key}')
        has = record.file_size if record is not None else 0
        if has < claim:
            raise ValueError(f'it claims {claim} bytes of storage {key}, '
                             f'which has {has}')


def _inspect_legacy(file: BinaryIO, size: int) -> None:
    """The format of torch before 1.6: five pickles, then the storages."""
    for expected in (torch.serialization.MAGIC_NUMBER,
                     torch.serialization.PROTOCOL_VERSION):
        if _Inspector(file).load() != expected:
            raise pickle.UnpicklingError('not written by torch.save')
    _Inspector(file).load()
    inspector = _Inspector(file)
    inspector.load()
    inspector.check_views()
    keys = _Inspector(file).load()
    claims = inspector.claims
    if sorted(keys) != sorted(claims):
        raise ValueError('it lists other storages than its tensors have')
    # Each storage follows its length, of eight bytes.
    claimed, left = sum(claims.values()) + 8 * len(claims), size - file.tell()
    if claimed > left:
        raise ValueError(f'its storages claim {claimed} bytes of {left}')


def _is_tar(path: Path) -> bool:
    try:
        tarfile.open(path, 'r:').close()
    except tarfile.TarError:
        return False
    return True


def inspect(path: Path) -> None:
    """Refuse a checkpoint that is more than data, or less than it claims.

    Args:
        path: A local file.

    Raises:
        pickle.UnpicklingError: If the file names code, with ``GLOBAL`` and
            the name in the message, or is no checkpoint.
        ValueError: With what is wrong with the file.
    """
    size = path.stat().st_size
    if size == 0:
        raise ValueError('it is empty')
    if _is_tar(path):
        raise ValueError('it is a tar file')
    with open(path, 'rb') as file:
        look = _inspect_legacy
        if file.read(4) == b'PK\3\4':
            look = _inspect_zip
        file.seek(0)
        try:
            look(file, size)
        except pickle.UnpicklingError:
            raise
        except Exception as error:
            if type(error) is ValueError:
                raise
            # A pickle of anybody's can fail in any way.
            raise pickle.UnpicklingError('damaged') from error
