"""A dry run of a checkpoint's pickle, before ``torch.load`` builds anything.

The pickle runs on stand-ins, which have no effect and take no memory. The dry
run finds the classes that the pickle names and the memory that it claims. A
file that claims more memory than it contains is refused.

``torch.load(weights_only=True)`` refuses code, but it trusts such claims: it
allocates the unpacked size of a record, whatever the size of the file. It
also accepts ``bytearray`` and a tensor of any shape on a tiny storage.
"""
import math
import pickle
import re
import struct
from pathlib import Path
from typing import Any, BinaryIO

import torch

from tadfkd.checkpoints.unpickling import data_globals
from tadfkd.checkpoints.zip_records import find_records

#: What tensors and containers consist of; ``torch.load`` accepts these names.
_TORCH_GLOBALS = frozenset({
    '_codecs.encode', 'builtins.set', 'collections.Counter',
    'collections.OrderedDict', 'torch.Size', 'torch.device',
    'torch._utils._rebuild_parameter', 'torch._utils._rebuild_tensor',
    'torch._utils._rebuild_tensor_v2', 'torch._utils._rebuild_tensor_v3'
} | {
    str(value)
    for value in vars(torch).values() if isinstance(value, torch.dtype)
})
# Booleans, numbers, dates and text, but neither objects nor records.
_PLAIN_DTYPE = re.compile(r'[<>|=]?[?biufcmMSU]\d*')
# Objects of these classes may get a state after they were made.
_WITH_STATE = {
    'argparse.Namespace', 'collections.Counter', 'collections.OrderedDict',
    'mmengine.logging.history_buffer.HistoryBuffer', 'numpy.dtype',
    'numpy.core.multiarray._reconstruct', 'numpy._core.multiarray._reconstruct'
}


class _StandIn:
    """Replaces an object that the file would build or a call that it makes."""

    full_name = ''
    inspector: '_Inspector'

    def __new__(cls, *arguments: Any) -> '_StandIn':
        """The result of a call in the file."""
        _check_call(cls.full_name, arguments)
        if cls.full_name.startswith('torch._utils._rebuild_tensor'):
            cls.inspector.viewed += math.prod(arguments[2])
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """The file sets the state of an object that it made."""
        if self.full_name not in _WITH_STATE:
            raise ValueError(f'it sets the state of a {self.full_name}')
        # NumPy trusts the fields and flags in the state of a dtype.
        if self.full_name == 'numpy.dtype' and (state[2:5] != (None, ) * 3
                                                or state[7] not in (0, 8)):
            raise pickle.UnpicklingError('GLOBAL numpy.dtype of objects')

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """The file appends to a list."""

    extend = append


class _Storage(int):
    """Replaces a storage; the value is its number of elements.

    It has no attributes, so that a file cannot set any.
    """

    __slots__ = ()


def _check_call(name: str, arguments: tuple) -> None:
    """Refuse a call whose result takes more memory than the file has."""
    if name.startswith('torch._utils._rebuild_tensor'):
        storage, offset, shape, strides = arguments[:4]
        if not isinstance(storage, _Storage):
            raise ValueError('a tensor has no storage')
        needed = 0
        if 0 not in shape:
            last = sum((length - 1) * stride
                       for length, stride in zip(shape, strides, strict=True))
            needed = offset + last + 1
        # With strides of zero, a small storage can have a tensor of any size.
        # A copy of that tensor takes the full memory.
        if needed > storage or min((*shape, *strides, offset, 0)) < 0 \
                or math.prod(shape) > max(storage, 2**20):
            raise ValueError(f'a tensor of shape {tuple(shape)} does not fit '
                             f'its storage of {storage} numbers')
    elif name == 'numpy.dtype':
        # Without copy=True, NumPy returns the dtype that all arrays share, and
        # the file could change it.
        if not _PLAIN_DTYPE.fullmatch(arguments[0]) or arguments[1:] != (False,
                                                                         True):
            raise pickle.UnpicklingError('GLOBAL numpy.dtype of objects')
    elif name.endswith('multiarray._reconstruct'):
        if arguments[1] != (0, ):
            raise ValueError('an array has a size before its content')
    elif name == 'numpy.ndarray' or _is_storage(name):
        raise pickle.UnpicklingError(f'GLOBAL {name}')


class _Inspector(pickle._Unpickler):
    """Runs a pickle on stand-ins.

    Attributes:
        claims: The claimed bytes per storage key.
        lengths: The claimed number of elements per storage key.
        viewed: Elements of all tensors together; shared elements count once
            per tensor.
    """

    # BYTEARRAY8 allocates the claimed size before it reads the file.
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
        self.allowed = _TORCH_GLOBALS | {
            # NumPy's dtype classes are made by numpy.dtype, never by name.
            name
            for name in data_globals() if not name.startswith('numpy.dtypes.')
        }

    def find_class(self, module: str, name: str) -> type[_StandIn]:
        """A stand-in for a global that may be in a checkpoint."""
        # Python 2 called the module of the built-in functions __builtin__.
        module = 'builtins' if module == '__builtin__' else module
        full_name = f'{module}.{name}'
        if not full_name.replace('.', '').isidentifier():
            raise pickle.UnpicklingError('text, or damaged')
        if full_name not in self.allowed and not _is_storage(full_name):
            raise pickle.UnpicklingError(f'GLOBAL {full_name}')
        return type(name, (_StandIn, ),
                    dict(full_name=full_name, inspector=self))

    def persistent_load(self, pid: Any) -> _Storage:
        """Note the size that a storage claims."""
        label, kind, key, _, size, *view = pid
        if label != 'storage' or not isinstance(key, str) \
                or not _is_storage(kind.full_name) or not size >= 0:
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
        """Refuse tensors that are together far larger than their storages.

        Views take no memory, but copies and conversions of them do. A factor
        of 4 allows for tied weights and averaged weights.
        """
        held = sum(self.lengths.values())
        if self.viewed > 4 * held + 2**22:
            raise ValueError(f'its tensors have {self.viewed} numbers over '
                             f'storages of {held}')


def _is_storage(full_name: str) -> bool:
    """Whether a global is one of torch's storage classes."""
    module, _, name = full_name.rpartition('.')
    return module in ('torch', 'torch.cuda',
                      'torch.storage') and name.endswith('Storage')


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
    # Eight bytes with its length precede each storage.
    claimed, left = sum(claims.values()) + 8 * len(claims), size - file.tell()
    if claimed > left:
        raise ValueError(f'its storages claim {claimed} bytes of {left}')


def inspect(path: Path) -> None:
    """Refuse a checkpoint that holds code or claims more than it holds.

    Args:
        path: A local file.

    Raises:
        pickle.UnpicklingError: If the file names code (the message contains
            ``GLOBAL`` and the name), or is not a checkpoint.
        ValueError: If the file is damaged; the message says how.
    """
    size = path.stat().st_size
    if size == 0:
        raise ValueError('it is empty')
    with open(path, 'rb') as file:
        is_zip = file.read(4) == b'PK\3\4'
        file.seek(0)
        try:
            (_inspect_zip if is_zip else _inspect_legacy)(file, size)
        except pickle.UnpicklingError:
            raise
        except Exception as error:
            if type(error) is ValueError:
                raise
            # A forged pickle can raise any exception.
            raise pickle.UnpicklingError('damaged') from error
