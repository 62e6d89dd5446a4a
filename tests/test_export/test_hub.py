"""Uploading a student, without a network."""
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from tadfkd import cli
from tadfkd.errors import UserError
from tadfkd.export import push_student

FAKE_ADDRESS = 'the address of jane/digits'


class FakeApi:
    """Keeps what would be sent."""

    calls: list[tuple] = []

    def create_repo(self, name: str, **options: Any) -> str:
        self.calls.append(('create', name, options))
        return FAKE_ADDRESS

    def upload_folder(self, repo_id: str, folder_path: Path) -> None:
        self.calls.append(('upload', repo_id, Path(folder_path)))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """The calls of the Hub, which are not made."""
    monkeypatch.setattr(huggingface_hub, 'HfApi', FakeApi)
    monkeypatch.setattr(FakeApi, 'calls', [])
    return FakeApi.calls


def test_a_student_is_uploaded_to_a_private_repository(
        calls: list[tuple], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr('tadfkd.apis.export_student', lambda *_: tmp_path)
    cli.main(['export', 'my_run', '--push', 'jane/digits'])
    assert calls == [
        ('create', 'jane/digits', dict(private=True, exist_ok=True)),
        ('upload', 'jane/digits', tmp_path),
    ]
    assert capsys.readouterr().out.split('\n') == [
        str(tmp_path), FAKE_ADDRESS, ''
    ]


@pytest.mark.parametrize('name', ['digits', 'jane/digits/1', 'jane/a b'])
def test_a_bad_name_is_refused_before_the_export(
        name: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match='1'):
        cli.main(['export', 'no_such_run', '--push', name])
    assert f'{name!r} cannot be the name' in capsys.readouterr().err


def test_a_failure_says_what_to_do(calls: list[tuple], tmp_path: Path,
                                   monkeypatch: pytest.MonkeyPatch) -> None:

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError('401 Unauthorized')

    monkeypatch.setattr(FakeApi, 'upload_folder', refuse)
    with pytest.raises(
            UserError, match='not uploaded.*401 Unauthorized.*hf auth login'):
        push_student(tmp_path, 'jane/digits')


def test_a_missing_library_is_named(tmp_path: Path,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'huggingface_hub.utils', None)
    with pytest.raises(UserError, match=r'pip install "tadfkd\[hub\]"'):
        push_student(tmp_path, 'jane/digits')
