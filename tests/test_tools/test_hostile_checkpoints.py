"""Any file as a checkpoint: one sentence, exit code 1, and no code runs."""
import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from forged_checkpoints import Payload, Storage, pickled, tensor, zipped
from tool_processes import run_forked

DIGITS = 'configs/tadfkd/resnet18w16_to_resnet18w8_digits.py'
# One process calls the tool for all files, because starting takes seconds.
LOOP = '''
import contextlib, io, json, sys
from tadfkd.cli import main
_, paths, *arguments = sys.argv
answers = {}
for path in json.loads(paths):
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            main(['train', *arguments, path])
        answers[path] = 'was accepted'
    except SystemExit as end:
        assert end.code == 1
        # Imports may have warned before.
        text = said.getvalue()
        answers[path] = text[text.index('error: '):].strip()
print(json.dumps(answers))
'''


class Hostile:
    """Writes files that create ``trace`` if their code runs."""

    def __init__(self, folder: Path, good: Path) -> None:
        self.folder = folder
        self.trace = folder / 'the payload ran'
        self.payload = Payload(os.system, f'touch "{self.trace}"')
        self.good = good
        self.weights = torch.load(good, weights_only=True)['state_dict']

    def path(self, name: str) -> Path:
        return self.folder / name

    def save(self, name: str, content: object, is_zip: bool = True) -> Path:
        path = self.path(name)
        torch.save(content, path, _use_new_zipfile_serialization=is_zip)
        return path

    def write(self, name: str, content: bytes) -> Path:
        path = self.path(name)
        path.write_bytes(content)
        return path

    def command(self, name: str, is_zip: bool) -> Path:
        """A good checkpoint that also runs a command."""
        content = dict(state_dict=self.weights, meta=self.payload)
        return self.save(name, content, is_zip)

    def directory(self) -> Path:
        self.path('directory').mkdir()
        return self.path('directory')

    def bomb(self) -> Path:
        content = dict(a=tensor(Storage('0', 2**25), 2**25))
        return zipped(
            self.path('bomb.pth'),
            pickled(content), {'0': bytes(2**27)},
            compressed=True)


@pytest.fixture
def hostile(tmp_path: Path, teacher_of: Callable[[str], Path]) -> Hostile:
    return Hostile(tmp_path, teacher_of('resnet18w16_digits'))


def test_no_file_gets_further_than_a_sentence(hostile: Hostile) -> None:
    good = hostile.good.read_bytes()
    narrow = {
        name: value[:1] if value.dim() else value
        for name, value in hostile.weights.items()
    }
    cases = {
        hostile.bomb():
        'is compressed, which torch.save never does',
        hostile.command('legacy.pth', False):
        'holds posix.system, which is code',
        hostile.command('command.safetensors', True):
        'cannot be read',
        hostile.write('plain.pkl', pickle.dumps(hostile.payload)):
        'holds posix.system, which is code',
        hostile.save('module.pth', torch.nn.Linear(2, 2)):
        'holds torch.nn.modules.linear.Linear, which is code',
        hostile.write('empty.pth', b''):
        'cannot be read (it is empty)',
        hostile.write('text.pth', b'hello world\n'):
        'cannot be read (damaged, or not written by torch.save)',
        hostile.write('cut.pth', good[:len(good) // 2]):
        'cannot be read',
        hostile.write(
            'claim.safetensors',
            struct.pack('<Q', 71) + b'{"a":{"dtype":"F32","shape":[1073741824'
            b'],"data_offsets":[0,4294967296]}}' + bytes(9)):
        'cannot be read',
        hostile.write('header.safetensors', bytes([255] * 8)):
        'cannot be read',
        hostile.directory():
        'is a directory',
        hostile.path('nowhere.pth'):
        'does not exist',
        hostile.save('list.pth', [torch.zeros(2)]):
        'holds a list, not a dictionary',
        hostile.save('numbers.pth', hostile.weights | dict(epoch=3)):
        'does not hold named tensors only',
        hostile.save('narrow.pth', narrow):
        'of another shape (backbone.',
        hostile.save('missing.pth', dict(list(hostile.weights.items())[3:])):
        '3 missing (backbone.',
    }
    loop = hostile.write('loop.py', LOOP.encode())
    process = run_forked(loop, [
        json.dumps([str(path)
                    for path in cases]), DIGITS, '--no-eval', '--work-dir',
        str(hostile.path('run')), '--teacher-checkpoint'
    ])
    assert process.returncode == 0, process.stderr
    assert 'Traceback' not in process.stderr
    answers = json.loads(process.stdout.splitlines()[-1])
    for path, message in cases.items():
        assert message in answers[str(path)], (path, answers[str(path)])
        assert answers[str(path)].startswith(f'error: teacher checkpoint '
                                             f'{path} ')
        assert '\n' not in answers[str(path)]
    assert not hostile.path('run').exists() and not hostile.trace.exists()
    # The command works.
    torch.load(hostile.path('legacy.pth'), weights_only=False)
    assert hostile.trace.exists()
