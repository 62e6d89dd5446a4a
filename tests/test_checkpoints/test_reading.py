"""Checkpoints are read without running them, and every key must fit."""
import io
import os
import pickle
import struct
from argparse import Namespace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch
from forged_checkpoints import Payload
from forged_checkpoints import zipped as zip_file
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import CheckpointLoader
from torch import nn

from tadfkd.checkpoints.reading import (read_checkpoint,
                                        use_restricted_unpickling)
from tadfkd.errors import UserError


def save(content: object, path: Path, zipped: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


@pytest.mark.parametrize('zipped', [True, False])
def test_a_plain_state_dict_is_read_exactly(tmp_path: Path,
                                            zipped: bool) -> None:
    content = dict(
        state_dict=nn.Linear(3, 2).state_dict(),
        meta=dict(epoch=3, name='run', rates=[0.1, None, (1, 2)]))
    found = read_checkpoint(save(content, tmp_path / 'a.pth', zipped))
    assert found['meta'] == content['meta']
    assert found['state_dict'].keys() == content['state_dict'].keys()
    for key, value in content['state_dict'].items():
        assert torch.equal(found['state_dict'][key], value)


def test_a_home_directory_is_expanded(tmp_path: Path,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    save(dict(a=1), tmp_path / 'a.pth')
    assert read_checkpoint('~/a.pth') == dict(a=1)


@pytest.mark.parametrize('zipped', [True, False])
def test_code_is_refused_by_name_and_not_run(tmp_path: Path,
                                             zipped: bool) -> None:
    trace = tmp_path / 'the payload ran'
    payload = Payload(os.system, f'touch "{trace}"')
    # Beside harmless weights, as in a real attack.
    path = save(
        dict(state_dict=nn.Linear(2, 2).state_dict(), meta=payload),
        tmp_path / 'bad.pth', zipped)
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    assert 'system' in str(caught.value) and str(path) in str(caught.value)
    assert not trace.exists()
    # The payload is a live one.
    torch.load(path, weights_only=False)
    assert trace.exists()


@pytest.mark.parametrize(
    'function, argument', [(eval, '__import__("os").mkdir({trace!r})'),
                           (exec, 'import os; os.mkdir({trace!r})'),
                           (os.mkdir, '{trace}'), (np.save, '{trace}')],
    ids=lambda value: getattr(value, '__name__', ''))
def test_no_function_is_called(tmp_path: Path, function: object,
                               argument: str) -> None:
    trace = tmp_path / 'trace.npy'
    payload = Payload(function, argument.format(trace=str(trace)),
                      *([0] if function is np.save else []))
    path = save([payload], tmp_path / 'bad.pth')
    with pytest.raises(UserError, match='code and not data|cannot be read'):
        read_checkpoint(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()


def test_getattr_is_no_way_around_the_refusal(tmp_path: Path) -> None:
    # mmengine's histories need getattr on the list of what may be called;
    # a method that it returns must not be.
    trace = tmp_path / 'the payload ran'
    payload = Payload(np.ndarray.tofile, np.zeros(3), str(trace))
    path = save(dict(meta=payload), tmp_path / 'bad.pth')
    with pytest.raises(UserError):
        read_checkpoint(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()


def builtin(name: str) -> Payload:
    """A function of Python's, fetched by getattr alone."""
    return Payload(getattr, Payload(getattr, getattr, '__self__'), name)


def test_getattr_does_not_smuggle_functions_in(tmp_path: Path) -> None:
    # Not called while reading, but no data either.
    path = save(dict(meta=builtin('eval')), tmp_path / 'bad.pth')
    assert torch.load(path, weights_only=False)['meta'] is eval
    with pytest.raises(UserError):
        read_checkpoint(path)


class TrappedHistory:
    """A history whose copy runs code: its own ``__reduce_ex__`` looks up the
    entry of a list at the protocol's number, which is 4."""

    def __init__(self, code: str) -> None:
        self.answers = [0, 0, 0, 0, (builtin('eval'), (code, ))]

    def __reduce__(self) -> tuple:
        trap = Payload(getattr, self.answers, '__getitem__')
        return HistoryBuffer, (), dict(_log_history=[], __reduce_ex__=trap)


def test_what_was_read_runs_no_code_when_a_run_resumes_from_it(
        tmp_path: Path) -> None:
    trace = tmp_path / 'the payload ran'
    history = TrappedHistory(f'__import__("os").mkdir({str(trace)!r})')
    path = save(
        dict(
            message_hub=dict(
                log_scalars={},
                resumed_keys={},
                runtime_info=dict(iter=history))), tmp_path / 'bad.pth')
    hub = MessageHub('test_of_a_trap')
    try:
        # As mmengine's Runner.resume does: it copies each entry.
        hub.load_state_dict(read_checkpoint(path)['message_hub'])
    except UserError:
        pass
    assert not trace.exists()
    trusted = torch.load(path, weights_only=False)
    hub.load_state_dict(trusted['message_hub'])
    assert trace.exists()


def legacy_bytes() -> bytes:
    stream = io.BytesIO()
    torch.save(
        dict(a=torch.randn(3), b=[1, 'x']),
        stream,
        _use_new_zipfile_serialization=False)
    return stream.getvalue()


def zipped_bytes() -> bytes:
    stream = io.BytesIO()
    torch.save(dict(a=torch.randn(3), b=[1, 'x']), stream)
    return stream.getvalue()


@pytest.mark.parametrize('whole', [zipped_bytes, legacy_bytes])
def test_a_file_cut_off_anywhere_is_a_users_error(tmp_path: Path,
                                                  whole) -> None:
    path, content = tmp_path / 'cut.pth', whole()
    surprises = {}
    for length in range(0, len(content) - 1, 11):
        path.write_bytes(content[:length])
        try:
            read_checkpoint(path)
        except UserError as error:
            assert str(path) in str(error) and '\n' not in str(error)
        except Exception as error:
            surprises[length] = repr(error)
    assert not surprises


@pytest.mark.parametrize('text', [
    '', ' ', 'README\n', 'hello world', '<!DOCTYPE html>\n<html></html>', '.',
    'version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n',
    '{"state_dict": {}}', '# Weights\n', 'import os\nos.getcwd()\n', 'PK\x03'
])
def test_a_file_of_text_is_a_users_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / 'text.pth'
    path.write_text(text)
    with pytest.raises(UserError, match='cannot be read') as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_directory_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='nothing.pth does not exist'):
        read_checkpoint(tmp_path / 'nothing.pth')
    with pytest.raises(UserError, match='is a directory'):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    'content', [[1, 2], torch.zeros(2), 'text', None],
    ids=lambda content: type(content).__name__)
def test_a_file_without_a_dictionary_is_refused(tmp_path: Path,
                                                content: object) -> None:
    path = save(content, tmp_path / 'a.pth')
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    assert f'holds a {type(content).__name__}, not a' in str(caught.value)


def mmengine_checkpoint() -> dict:
    """The parts of a checkpoint of mmengine's Runner that are not tensors."""
    hub = MessageHub('test_checkpoint_reading')
    for step in range(3):
        hub.update_scalar('train/loss', torch.tensor(0.5 * step))
    hub.update_scalar('train/lr', np.float64(0.1))
    hub.update_info('iter', np.int64(3))
    hub.update_info('name', 'run')
    network = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.randn(4, 2)).sum().backward()
    optimizer.step()
    return dict(
        meta=dict(epoch=1, accuracy=np.float32(0.25), best=np.array([1, 2])),
        state_dict=network.state_dict(),
        optimizer=optimizer.state_dict(),
        message_hub=hub.state_dict())


@pytest.mark.parametrize('zipped', [True, False])
def test_a_checkpoint_of_mmengine_is_read(tmp_path: Path,
                                          zipped: bool) -> None:
    content = mmengine_checkpoint()
    found = read_checkpoint(save(content, tmp_path / 'a.pth', zipped))
    history = found['message_hub']['log_scalars']['train/loss']
    assert isinstance(history, HistoryBuffer)
    assert history.data[0].tolist() == [0.0, 0.5, 1.0]
    assert history.mean() == 0.5 and history.statistics('max') == 1.0
    assert found['message_hub']['runtime_info']['iter'] == 3
    assert found['meta']['accuracy'] == np.float32(0.25)
    assert found['meta']['best'].tolist() == [1, 2]
    moments = found['optimizer']['state'][0]['exp_avg']
    assert torch.equal(moments, content['optimizer']['state'][0]['exp_avg'])


def test_what_is_trusted_here_is_not_trusted_elsewhere(tmp_path: Path) -> None:
    path = save(mmengine_checkpoint(), tmp_path / 'a.pth')
    read_checkpoint(path)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)


def test_mmengine_reads_local_files_by_the_same_rules(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The registration is global: put back what was there.
    monkeypatch.setattr(CheckpointLoader, '_schemes',
                        dict(CheckpointLoader._schemes))
    use_restricted_unpickling()
    good = save(mmengine_checkpoint(), tmp_path / 'good.pth')
    # To the CPU in any case, see there.
    found = CheckpointLoader.load_checkpoint(str(good), map_location='meta')
    assert found['meta']['epoch'] == 1
    devices = {value.device.type for value in found['state_dict'].values()}
    assert devices == {'cpu'}
    trace = tmp_path / 'the payload ran'
    bad = save(
        dict(a=Payload(os.system, f'touch "{trace}"')), tmp_path / 'bad.pth')
    with pytest.raises(UserError, match='code and not data'):
        CheckpointLoader.load_checkpoint(str(bad), map_location='cpu')
    assert not trace.exists()


def test_errors_of_a_damaged_number_are_users_errors(tmp_path: Path) -> None:
    # A length field of the old format that points beyond the file.
    content = legacy_bytes()
    position = content.index(b'X\x10\x00\x00\x00protocol_version') + 1
    damaged = content[:position] + struct.pack('<I', 2**31) \
        + content[position + 4:]
    path = tmp_path / 'damaged.pth'
    path.write_bytes(damaged)
    with pytest.raises(UserError, match='cannot be read'):
        read_checkpoint(path)


def test_settings_of_a_script_are_data(tmp_path: Path) -> None:
    # As timm's and torchvision's training scripts save them.
    path = save(
        dict(model=dict(a=torch.ones(2)), args=Namespace(lr=0.1, amp=None)),
        tmp_path / 'a.pth')
    assert read_checkpoint(path)['args'] == Namespace(lr=0.1, amp=None)


@pytest.mark.parametrize('zipped', [True, False])
def test_a_trusted_file_may_run_code(tmp_path: Path, zipped: bool) -> None:
    content = dict(model=dict(a=torch.ones(2)), when=date(2020, 1, 2))
    path = save(content, tmp_path / 'a.pth', zipped)
    with pytest.raises(UserError) as caught:
        read_checkpoint(path, opt_in='model.teacher.trust_checkpoint')
    assert str(caught.value) == (
        f'checkpoint {path} was refused because it holds datetime.date, which '
        'is code and not data: save a plain state dict, or, if you trust '
        'whoever made it, set model.teacher.trust_checkpoint=True')
    assert read_checkpoint(path, trusted=True)['when'] == date(2020, 1, 2)


def test_a_trusted_module_is_its_state_dict(tmp_path: Path) -> None:
    module = nn.Linear(2, 3)
    path = save(module, tmp_path / 'a.pth')
    with pytest.raises(UserError, match='torch.nn.modules.linear.Linear'):
        read_checkpoint(path)
    found = read_checkpoint(path, trusted=True)
    assert torch.equal(found['weight'], module.weight)


def test_a_trusted_file_says_what_it_lacks(tmp_path: Path) -> None:
    stream = b'\x80\x02}X\x01\0\0\0acno_such_module\nThing\ns.'
    path = zip_file(tmp_path / 'a.pth', stream)
    with pytest.raises(
            UserError, match="No module named 'no_such_module'.*install"):
        read_checkpoint(path, trusted=True)
    with pytest.raises(UserError, match='holds no_such_module.Thing'):
        read_checkpoint(path)
