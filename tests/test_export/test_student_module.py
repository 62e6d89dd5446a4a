"""Loading a student."""
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.export import load_student


@pytest.fixture
def change(run_dir: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copies the student and changes its architecture."""

    def copied(**changes: Any) -> Path:
        folder = tmp_path / 'student'
        shutil.copytree(run_dir / 'student', folder)
        path = folder / 'config.json'
        content = json.loads(path.read_text())
        content['architecture'] |= changes
        path.write_text(json.dumps(content))
        return folder

    return copied


def test_a_loaded_student_gives_the_logits_of_the_run(
        run_dir: Path, images_BCHW: Tensor, expected_BK: Tensor,
        monkeypatch: pytest.MonkeyPatch) -> None:

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError('a pickle was read')

    for owner, name in ((torch, 'load'), (pickle, 'load'), (pickle, 'loads')):
        monkeypatch.setattr(owner, name, refuse)
    student = load_student(run_dir / 'student')
    assert not any(module.training for module in student.modules())
    with torch.no_grad():
        torch.testing.assert_close(
            student(images_BCHW), expected_BK, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    'kind', ['os.system', 'subprocess.run', 'torch.nn.Identity', 'Nowhere'])
def test_a_config_cannot_name_a_function_to_call(
        kind: str, change: Callable[..., Path]) -> None:
    folder = change(neck=dict(type=kind))
    with pytest.raises(
            UserError, match=f"type '{kind}', which is not registered"):
        load_student(folder)


def test_a_config_cannot_name_a_factory(change: Callable[..., Path]) -> None:
    folder = change(
        neck=dict(
            type='tadfkd.ModuleTeacher',
            factory='os:system',
            arguments=dict(command='true')))
    with pytest.raises(UserError, match="'factory', which would run code"):
        load_student(folder)


def test_a_config_cannot_load_other_weights(
        change: Callable[..., Path]) -> None:
    folder = change(pretrained='nowhere.pth')
    load_student(folder)


def test_weights_of_another_network_are_refused(
        change: Callable[..., Path]) -> None:
    folder = change(
        head=dict(type='LinearClsHead', num_classes=7, in_channels=32))
    with pytest.raises(UserError, match='does not fit the network'):
        load_student(folder)


def test_a_folder_without_student_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='has no config.json'):
        load_student(tmp_path)


@pytest.mark.parametrize('content', ['{', '[]', '{}'])
def test_a_damaged_config_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / 'config.json').write_text(content)
    with pytest.raises(UserError, match='config.json cannot be read'):
        load_student(tmp_path)


def test_missing_weights_are_refused(change: Callable[..., Path]) -> None:
    folder = change()
    (folder / 'model.safetensors').unlink()
    with pytest.raises(UserError, match='model.safetensors does not exist'):
        load_student(folder)
