"""A checkpoint that claims more than it holds is refused unread."""
import io
import json
import pickle
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from forged_checkpoints import (Payload, Storage, legacy, pickled, tensor,
                                zipped)
from torch import nn

from tadfkd.checkpoints.inspection import inspect
from tadfkd.checkpoints.reading import read_checkpoint

GIBIBYTE = 2**30
FLOATS = b'\0\0\x80?' * 4


def compressed(path: Path) -> Path:
    content = dict(a=tensor(Storage('0', 2**25), 2**25))
    return zipped(path, pickled(content), {'0': bytes(2**27)}, compressed=True)


def with_listing(path: Path, change: Callable[[list], None]) -> Path:
    """A checkpoint with a changed central directory."""
    content = {f'{i}': tensor(Storage(f'{i}', 2**20), 2**20) for i in range(9)}
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('a/data.pkl', pickled(content))
        archive.writestr('a/version', b'3\n')
        archive.writestr('a/data/0', bytes(2**22))
        change(archive.filelist)
    return path


def overlapping(path: Path) -> Path:

    def change(infos: list) -> None:
        for i in range(1, 9):
            info = zipfile.ZipInfo(f'a/data/{i}')
            info.header_offset = infos[2].header_offset
            info.file_size = info.compress_size = 2**22
            info.CRC = infos[2].CRC
            infos.append(info)

    return with_listing(path, change)


def by_another_name(path: Path) -> Path:
    # torch ends a name at a zero byte and ignores case.
    content = {key: tensor(Storage(key, 4), 4) for key in ('a', 'a\0b', 'A')}
    return zipped(path, pickled(content), {'a': FLOATS})


def short_record(path: Path) -> Path:
    content = dict(a=tensor(Storage('0', 2**20), 2**20))
    return zipped(path, pickled(content), {'0': FLOATS})


def without_strides(path: Path) -> Path:
    content = dict(a=tensor(Storage('0', 4), 2**40, strides=(0, )))
    return zipped(path, pickled(content), {'0': FLOATS})


def many_views(path: Path) -> Path:
    # Each view is small, but a conversion of all of them takes gigabytes.
    content = {
        f'{i}': tensor(Storage('0', 4), 2**20, strides=(0, ))
        for i in range(400)
    }
    return zipped(path, pickled(content), {'0': FLOATS})


def legacy_claim(path: Path) -> Path:
    content = dict(a=tensor(Storage('0', GIBIBYTE), GIBIBYTE))
    return legacy(path, content, {'0': FLOATS})


def changed_stand_in(path: Path) -> Path:
    """Sets an attribute of our stand-in for a storage."""
    storage = pickled(dict(a=Storage('0', 4)))
    # (None, {'size': 2**30}) and BUILD, while the storage is on the stack.
    state = b'N}X\x04\0\0\0sizeJ\0\0\0\x40s\x86b'
    end = storage.index(b'Q') + 1
    return zipped(path, storage[:end] + state + storage[end:], {'0': FLOATS})


def calls(function: object, *arguments: object) -> Callable[[Path], Path]:

    def write(path: Path) -> Path:
        return zipped(path, pickled(dict(a=Payload(function, *arguments))))

    return write


def changes(made: Payload, state: tuple) -> Callable[[Path], Path]:
    made.call = (*made.call, state)
    return lambda path: zipped(path, pickled(dict(a=made)), {'0': b''})


def safetensors_claim(path: Path) -> Path:
    header = json.dumps({
        'a':
        dict(dtype='F32', shape=[GIBIBYTE], data_offsets=[0, 4 * GIBIBYTE])
    }).encode()
    path = path.with_suffix('.safetensors')
    path.write_bytes(struct.pack('<Q', len(header)) + header + FLOATS)
    return path


BOMBS: dict[str, tuple[Callable[[Path], Path], str]] = {
    'compressed': (compressed, 'record a/data.pkl is compressed'),
    'overlapping': (overlapping, 'record a/data/1 overlaps another'),
    'by_another_name': (by_another_name, r'of storage a\\x00b, which has 0'),
    'short_record': (short_record, 'claims 4194304 bytes of storage 0, which '
                     'has 16'),
    'without_strides': (without_strides, 'does not fit its storage'),
    'many_views':
    (many_views, 'tensors have 419430400 numbers over storages of 4'),
    'legacy_claim': (legacy_claim, 'storages claim 4294967304 bytes of 24'),
    'changed_stand_in': (changed_stand_in, 'damaged'),
    'bytearray': (calls(bytearray, 4 * GIBIBYTE), 'holds builtins.bytearray'),
    'array_of_a_size':
    (calls(np.zeros(0).__reduce__()[0], np.ndarray, (4 * GIBIBYTE, ),
           b'b'), 'array has a size before'),
    # Flags of objects for integers, and a tensor with another tensor's state.
    'flags': (changes(
        Payload(np.dtype, 'i8', False, True),
        (3, '<', None, None, None, -1, -1, 63)), 'holds numpy.dtype'),
    'changed_tensor': (changes(
        tensor(Storage('0', 0), 0),
        (Storage('0', 0), 0, (2**40, ),
         (1, ))), 'it sets the state of a torch._utils._rebuild_tensor_v2'),
    'safetensors_claim': (safetensors_claim, 'cannot be read'),
}

READER = '''
import json, resource, sys
from pathlib import Path
from tadfkd.checkpoints.reading import read_checkpoint
from tadfkd.errors import UserError
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
size = int(Path('/proc/self/statm').read_text().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (size + 2**28, size + 2**28))
before = peak()
answers = {}
for path in sys.argv[1:]:
    try:
        answers[path] = f'was read: {read_checkpoint(path)}'
    except UserError as error:
        answers[path] = str(error)
    assert peak() < before + 64, (path, before, peak())
print(json.dumps(answers))
'''


@pytest.fixture(scope='module')
def bomb_answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple]:
    """The refusal of each file, from a process with a memory limit."""
    folder = tmp_path_factory.mktemp('bombs')
    paths = {
        name: str(write(folder / f'{name}.pth'))
        for name, (write, _) in BOMBS.items()
    }
    process = subprocess.run([sys.executable, '-c', READER, *paths.values()],
                             capture_output=True,
                             text=True)
    assert process.returncode == 0, process.stderr
    answers = json.loads(process.stdout.splitlines()[-1])
    return {name: answers[path] for name, path in paths.items()}


@pytest.mark.parametrize('name', BOMBS)
def test_a_claim_is_refused_before_memory_is_taken(bomb_answers: dict[str,
                                                                      tuple],
                                                   name: str) -> None:
    pattern = BOMBS[name][1]
    assert re.search(pattern, bomb_answers[name]), bomb_answers[name]
    assert '\n' not in bomb_answers[name]


def saved(content: object, **options: object) -> io.BytesIO:
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream


@pytest.mark.parametrize('is_zip', [True, False])
def test_all_that_torch_saves_passes(tmp_path: Path, is_zip: bool) -> None:
    base = torch.arange(24.)
    content: dict = dict(
        view=base.view(4, 6).t()[1:3],
        whole=base,
        # Tied, averaged and in the optimizer.
        shared=[base[:] for _ in range(3)],
        scalar=torch.tensor(3),
        empty=torch.zeros(0, 5),
        half=torch.ones(3, dtype=torch.bfloat16),
        bits=torch.ones(3, dtype=torch.bool),
        complex=torch.ones(2, dtype=torch.complex64),
        expanded=torch.ones(1, 3).expand(1000, 3),
        parameter=nn.Parameter(torch.ones(2)),
        shape=torch.Size([1, 2]),
        device=torch.device('cpu'),
        dtype=torch.float16,
        names={'a', 'b'},
        raw=b'bytes',
        arrays=[np.arange(3), np.float64(2),
                np.array(['text'])])
    if is_zip:
        # The legacy format has no 8-bit floats.
        content['small'] = torch.ones(3, dtype=torch.float8_e4m3fn)
    path = tmp_path / 'a.pth'
    path.write_bytes(
        saved(content, _use_new_zipfile_serialization=is_zip).getvalue())
    inspect(path)
    found = read_checkpoint(path)
    for name, value in content.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(found[name], value), name
    assert found['names'] == content['names'] and found['raw'] == b'bytes'
    assert found['dtype'] == torch.float16
    assert found['arrays'][2].tolist() == ['text']
    # Views of one storage still share it.
    found['whole'][7] = -1
    assert found['view'][0, 1] == -1


def test_a_zip_file_with_something_around_it_is_refused(
        tmp_path: Path) -> None:
    # Two readers could find different records.
    path = tmp_path / 'a.pth'
    content = saved(dict(a=torch.ones(2))).getvalue()
    for changed in (content + b'\0', content + content, b'PK\3\4' + content,
                    content[:-2] + b'\1\0x'):
        path.write_bytes(changed)
        with pytest.raises((ValueError, pickle.UnpicklingError)):
            inspect(path)
