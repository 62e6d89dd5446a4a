"""Checkpoints that ``torch.save`` would not write."""
import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


class Payload:
    """Unpickling calls ``function(*arguments)``."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


class Storage:
    """A storage of so many 32-bit floats, or so the file says."""

    def __init__(self, key: str, size: int) -> None:
        self.label = 'storage', torch.FloatStorage, key, 'cpu', size


def tensor(storage: Storage, *shape: int, strides: tuple = (1, )) -> Payload:
    """A tensor of that shape, or so the file says."""
    return Payload(torch._utils._rebuild_tensor_v2, storage, 0, shape, strides,
                   False, OrderedDict())


def pickled(content: Any, legacy: bool = False) -> bytes:
    """``content`` as ``torch.save`` pickles it."""

    class Pickler(pickle.Pickler):

        def persistent_id(self, value: Any) -> tuple | None:
            if not isinstance(value, Storage):
                return None
            return (*value.label, None) if legacy else value.label

    stream = io.BytesIO()
    Pickler(stream, 2).dump(content)
    return stream.getvalue()


def zipped(path: Path,
           pickle_bytes: bytes,
           records: Mapping[str, bytes] = {},
           compressed: bool = False) -> Path:
    """Write a checkpoint with the given storages by key."""
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, 'w', method, compresslevel=1) as archive:
        archive.writestr('a/data.pkl', pickle_bytes)
        archive.writestr('a/version', b'3\n')
        for key, record in records.items():
            archive.writestr(f'a/data/{key}', record)
    return path


def legacy(path: Path, content: Any, storages: Mapping[str, bytes]) -> Path:
    """Write a checkpoint in the format of torch before 1.6."""
    parts = [
        pickle.dumps(value, 2)
        for value in (torch.serialization.MAGIC_NUMBER,
                      torch.serialization.PROTOCOL_VERSION,
                      dict(little_endian=True))
    ]
    parts += [pickled(content, legacy=True), pickle.dumps(list(storages), 2)]
    parts += [
        struct.pack('<q',
                    len(storage) // 4) + storage
        for storage in storages.values()
    ]
    path.write_bytes(b''.join(parts))
    return path
