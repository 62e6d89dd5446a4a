"""Checkpoints from URLs, and .safetensors files."""
import hashlib
import io
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from forged_checkpoints import Payload
from mmengine.runner import CheckpointLoader
from safetensors.torch import save_file
from torch import nn

from tadfkd.checkpoints.reading import (read_checkpoint,
                                        use_restricted_unpickling)
from tadfkd.errors import UserError


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
    """A server of this machine's, and an empty cache."""
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


def test_what_cannot_be_downloaded_is_one_sentence(server: Server,
                                                   tmp_path: Path) -> None:
    for url in (f'{server.address}/nothing.pth', 'http://127.0.0.1:9/a.pth',
                'http://[::1/a.pth', 'http:///a.pth', 'http://a b/c.pth'):
        with pytest.raises(UserError, match='URL|cannot be downl') as caught:
            read_checkpoint(url)
        assert '\n' not in str(caught.value)
        assert cached(tmp_path) == []


def test_a_download_that_was_cut_off_can_be_had_again(server: Server) -> None:
    server.files['/cut.pth'] = saved(1)[:-40]
    url = f'{server.address}/cut.pth'
    with pytest.raises(UserError, match='downloaded to .*: delete that file') \
            as caught:
        read_checkpoint(url)
    path = Path(str(caught.value).partition('to ')[2].partition(')')[0])
    path.unlink()
    server.files['/cut.pth'] = saved(1)
    assert read_checkpoint(url)['a'].tolist() == [1, 1]


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


def test_a_failed_download_ends_every_process(server: Server) -> None:
    url = f'{server.address}/slow/none.safetensors'
    with ThreadPoolExecutor(3) as ranks:
        answers = [ranks.submit(read_checkpoint, url) for _ in range(3)]
        for answer in answers:
            error = answer.exception(timeout=60)
            assert isinstance(error, UserError)
            assert 'cannot be downloaded (HTTP Error 404' in str(error)


def test_mmengine_reads_nothing_by_other_schemes(
        monkeypatch: pytest.MonkeyPatch) -> None:
    # The registration is global: put back what was there.
    monkeypatch.setattr(CheckpointLoader, '_schemes',
                        dict(CheckpointLoader._schemes))
    use_restricted_unpickling()
    for scheme in ('pavi', 's3', 'petrel', 'open-mmlab:s3', 'modelzoo',
                   'torchvision', 'open-mmlab', 'openmmlab', 'mmcls'):
        url = f'{scheme}://resnet18'
        with pytest.raises(UserError) as caught:
            CheckpointLoader.load_checkpoint(url)
        assert str(caught.value) == (
            f'checkpoint {url} is neither a file nor an http or https URL: '
            'give such a URL, or download it and name the file')
    assert len(set(CheckpointLoader._schemes.values())) == 1


def test_code_from_a_url_is_refused_and_not_run(
        server: Server, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    # The registration is global: put back what was there.
    monkeypatch.setattr(CheckpointLoader, '_schemes',
                        dict(CheckpointLoader._schemes))
    use_restricted_unpickling()
    trace = tmp_path / 'the payload ran'
    stream = io.BytesIO()
    torch.save(dict(a=Payload(os.system, f'touch "{trace}"')), stream)
    server.files['/bad.pth'] = stream.getvalue()
    url = f'{server.address}/bad.pth'
    for read in (read_checkpoint, CheckpointLoader.load_checkpoint):
        with pytest.raises(UserError, match='system, which is code'):
            read(url)
    assert not trace.exists()


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


@pytest.mark.parametrize('length', [0, 4, 8, 40, -1])
def test_a_safetensors_file_cut_off_is_a_users_error(tmp_path: Path,
                                                     length: int) -> None:
    path = tmp_path / 'a.safetensors'
    save_file(dict(a=torch.ones(2)), path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UserError, match='a.safetensors cannot be read'):
        read_checkpoint(path)
