"""Files and URLs are read without running code in them."""
import hashlib
import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from forged_checkpoints import Payload
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import CheckpointLoader
from safetensors.torch import save_file
from torch import nn

import tadfkd.apis  # noqa: F401, for what importing it changes
from tadfkd.checkpoints.reading import read_checkpoint, restricted_unpickling
from tadfkd.errors import UserError

both_formats = pytest.mark.parametrize('zipped', [True, False])


def save(content: object, path: Path, zipped: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


@both_formats
@pytest.mark.parametrize('payload', [
    lambda trace: Payload(os.system, f'mkdir "{trace}"'),
    lambda trace: Payload(eval, f'__import__("os").mkdir({trace!r})'),
    lambda trace: Payload(np.save, trace, 0),
    # mmengine's histories need getattr; the method that it returns must not
    # be called.
    lambda trace: Payload(np.ndarray.tofile, np.zeros(3), trace),
], ids=['system', 'eval', 'save', 'tofile'])  # yapf: disable
def test_code_is_refused_and_not_run(tmp_path: Path, zipped: bool,
                                     payload: Callable) -> None:
    trace = tmp_path / 'trace.npy'
    # Beside harmless weights, as in a real attack.
    path = save(
        dict(
            state_dict=nn.Linear(2, 2).state_dict(), meta=payload(str(trace))),
        tmp_path / 'bad.pth', zipped)
    with pytest.raises(UserError, match='code and not data|cannot be read'):
        read_checkpoint(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists(), 'the payload does nothing'


def builtin(name: str) -> Payload:
    """A function of Python's, fetched by getattr alone."""
    return Payload(getattr, Payload(getattr, getattr, '__self__'), name)


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


@both_formats
def test_a_file_cut_off_anywhere_is_a_users_error(tmp_path: Path,
                                                  zipped: bool) -> None:
    path = save(dict(a=torch.randn(3), b=[1, 'x']), tmp_path / 'a', zipped)
    content = path.read_bytes()
    for length in range(0, len(content) - 1, 11):
        path.write_bytes(content[:length])
        with pytest.raises(UserError) as caught:
            read_checkpoint(path)
        assert str(path) in str(caught.value)
        assert '\n' not in str(caught.value)


@pytest.mark.parametrize('text', [
    ' ', '<!DOCTYPE html>\n<html></html>', '.', '{"state_dict": {}}', 'PK\x03',
    'version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n'
])
def test_a_file_of_text_is_a_users_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / 'text.pth'
    path.write_text(text)
    with pytest.raises(UserError, match='cannot be read') as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)


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


@both_formats
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


def test_mmengine_reads_by_the_same_rules_within_the_block(
        tmp_path: Path) -> None:
    good = save(mmengine_checkpoint(), tmp_path / 'good.pth')
    trace = tmp_path / 'the payload ran'
    bad = save(
        dict(a=Payload(os.system, f'touch "{trace}"')), tmp_path / 'bad.pth')
    before = CheckpointLoader._schemes
    # Importing tadfkd.apis registers nothing.
    assert {load.__module__
            for load in before.values()} == {CheckpointLoader.__module__}
    with pytest.raises(KeyError), restricted_unpickling():
        # To the CPU in any case, see reading.py.
        found = CheckpointLoader.load_checkpoint(str(good), 'meta')
        assert found['meta']['epoch'] == 1
        assert found['state_dict']['weight'].device.type == 'cpu'
        for name, message in ((str(bad), 'code and not data'),
                              ('torchvision://resnet18', 'is neither a file'),
                              ('s3://bucket/a.pth', 'is neither a file')):
            with pytest.raises(UserError, match=message):
                CheckpointLoader.load_checkpoint(name)
        raise KeyError('the run failed')
    assert CheckpointLoader._schemes is before
    assert not trace.exists()


@both_formats
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


class Server:
    """Serves ``files`` by path; ``requests`` are the paths asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        served = self

        class Handler(BaseHTTPRequestHandler):

            def do_GET(self) -> None:
                served.requests.append(self.path)
                content = served.files.get(self.path)
                if 'slow' in self.path:
                    time.sleep(0.5)
                self.send_response(200 if content is not None else 404)
                length = len(content or b'')
                if 'cut' in self.path:
                    length += 1000
                self.send_header('Content-Length', str(length))
                self.end_headers()
                self.wfile.write(content or b'')

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.address = f'http://127.0.0.1:{self.http.server_port}'


@pytest.fixture
def server(tmp_path: Path,
           monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A local server, and an empty cache."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    monkeypatch.setenv('no_proxy', '*')
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever)
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


def saved(value: float) -> bytes:
    stream = io.BytesIO()
    torch.save(dict(a=torch.full((2, ), value)), stream)
    return stream.getvalue()


def cached(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / 'home').rglob('*') if path.is_file()]


def test_a_url_is_downloaded_once(server: Server, tmp_path: Path) -> None:
    digest = hashlib.sha256(saved(1)).hexdigest()
    name = f'/r18-{digest[:8]}.pth'
    server.files[name] = saved(1)
    for _ in range(2):
        found = read_checkpoint(server.address + name)
        assert found['a'].tolist() == [1, 1]
    assert server.requests == [name]
    # Where torch.hub would look for it, and nothing beside it.
    assert cached(tmp_path) == [
        tmp_path / 'home' / 'hub' / 'checkpoints' / name[1:]
    ]


def test_equal_names_at_two_addresses_are_two_files(server: Server) -> None:
    for folder in range(2):
        server.files[f'/{folder}/model.pth?download=true'] = saved(folder)
    for folder in (0, 1, 0):
        url = f'{server.address}/{folder}/model.pth?download=true'
        assert read_checkpoint(url)['a'].tolist() == [folder] * 2


def test_another_hash_than_the_name_says_is_refused(server: Server,
                                                    tmp_path: Path) -> None:
    name = '/r18-0123456789abcdef.pth'
    server.files[name] = saved(1)
    for _ in range(2):
        with pytest.raises(UserError) as caught:
            read_checkpoint(server.address + name)
        message = str(caught.value)
        assert message.startswith(f'checkpoint {server.address}{name} cannot '
                                  'be downloaded (invalid hash value')
        assert '\n' not in message
        assert cached(tmp_path) == []


@pytest.mark.parametrize('url', [
    'file:///etc/passwd', 'ftp://127.0.0.1/a.pth', 's3://bucket/a.pth',
    'torchvision://resnet18', 'https:///a.pth'
])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(
            UserError, match=f'{url} is neither a file nor an http or https'):
        read_checkpoint(url)


def test_processes_of_a_run_download_a_file_once(server: Server,
                                                 tmp_path: Path) -> None:
    path = tmp_path / 'a.safetensors'
    save_file(dict(a=torch.ones(2)), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    # Locks of a file that is opened twice hold between threads as well.
    with ThreadPoolExecutor(4) as ranks:
        for name in ('/slow.safetensors', f'/slow-{digest}.safetensors'):
            server.files[name] = path.read_bytes()
            for found in ranks.map(read_checkpoint,
                                   [server.address + name] * 4):
                assert found['a'].tolist() == [1, 1]
            assert server.requests.count(name) == 1


def test_a_safetensors_file_is_read(server: Server, tmp_path: Path) -> None:
    weights = nn.Linear(2, 3).state_dict()
    path = tmp_path / 'model.safetensors'
    save_file(weights, path, dict(format='pt'))
    server.files['/model.safetensors'] = path.read_bytes()
    for source in (path, str(path), f'{server.address}/model.safetensors'):
        for trusted in (False, True):
            found = read_checkpoint(source, trusted=trusted)
            assert found.keys() == weights.keys()
            assert torch.equal(found['weight'], weights['weight'])


def test_a_name_does_not_make_it_safetensors(tmp_path: Path) -> None:
    trace = tmp_path / 'the payload ran'
    payload = dict(a=Payload(os.system, f'touch "{trace}"'))
    path = tmp_path / 'bad.safetensors'
    for is_zip in (True, False):
        torch.save(payload, path, _use_new_zipfile_serialization=is_zip)
        with pytest.raises(UserError, match='bad.safetensors cannot be read'):
            read_checkpoint(path, trusted=True)
    assert not trace.exists()
    # The other way around.
    save_file(dict(a=torch.ones(2)), path)
    with pytest.raises(UserError, match='cannot be read'):
        read_checkpoint(path.rename(tmp_path / 'a.pth'))
