"""Teachers from factories and TorchScript files."""
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_networks import convolutional
from torch import Tensor, nn

from tadfkd.errors import UserError
from tadfkd.teachers import ModuleTeacher, TorchScriptTeacher

FIELDS = dict(mean=[127.5] * 3, std=[63.75] * 3, input_size=12)


def images(size: int = 12) -> Tensor:
    """Four RGB images in [0, 1]."""
    return torch.rand(4, 3, size, size)


def expected(network: nn.Module, images_BCHW: Tensor) -> Tensor:
    """The logits of a network for normalised images."""
    return network.eval()((images_BCHW - 0.5) / 0.25)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of the user's, importable, with a module of factories."""
    name = 'users_own_networks'
    folder = tmp_path / name
    folder.mkdir()
    (folder / '__init__.py').touch()
    (folder / 'nets.py').write_text(
        'from torch import nn\n'
        'class Net(nn.Sequential):\n'
        '    def __init__(self, classes=3):\n'
        '        super().__init__(nn.Flatten(), nn.Linear(432, classes))\n')
    monkeypatch.syspath_prepend(tmp_path)
    yield f'{name}.nets'
    for module in [*sys.modules]:
        if module.partition('.')[0] == name:
            del sys.modules[module]


def test_a_factory_is_imported_by_its_path(package: str) -> None:
    teacher = ModuleTeacher(
        f'{package}:Net', arguments=dict(classes=4), **FIELDS)
    assert type(teacher.network).__module__ == package
    assert teacher.num_classes == 4
    assert teacher.facts['weights'] == ('from its source', 'model.teacher')
    images_BCHW = images()
    torch.testing.assert_close(
        teacher(images_BCHW).logits_BK, expected(teacher.network, images_BCHW))


def script(kind: str, network: nn.Module, path: Path) -> str:
    """A TorchScript file of a network."""
    if kind == 'traced':
        scripted = torch.jit.trace(network.eval(), images())
    else:
        scripted = torch.jit.script(network.eval())
    if kind == 'frozen':
        scripted = torch.jit.freeze(scripted)
    torch.jit.save(scripted, path)
    return str(path)


def trusted(path: str | Path, **fields: Any) -> TorchScriptTeacher:
    """Of a file that may run."""
    return TorchScriptTeacher(
        checkpoint=str(path), trust_checkpoint=True, **FIELDS | fields)


KINDS = ['scripted', 'traced', 'frozen']


@pytest.mark.parametrize('kind', KINDS)
def test_a_script_answers_as_its_network(kind: str, tmp_path: Path) -> None:
    network = convolutional()
    path = script(kind, network, tmp_path / 'net.pt')
    # One mean for all channels does not tell the number of channels.
    fields = {} if kind == 'frozen' else dict(mean=[127.5], std=[63.75])
    teacher = trusted(path, **fields)
    assert teacher.facts['num_channels'].value == 3
    assert teacher.facts['weights'] == (path, 'model.teacher')
    teacher.train()
    # TorchScript profiles the first calls and optimises the later ones.
    for _ in range(3):
        images_BCHW = images().requires_grad_()
        logits_BK = teacher(images_BCHW).logits_BK
        expected_BK = expected(network, images_BCHW)
        torch.testing.assert_close(logits_BK, expected_BK)
        found_BCHW, expected_BCHW = (
            torch.autograd.grad(answer.square().sum(), images_BCHW)[0]
            for answer in (logits_BK, expected_BK))
        torch.testing.assert_close(found_BCHW, expected_BCHW)
        assert found_BCHW.abs().max() > 0
    assert not any(parameter.requires_grad
                   for parameter in teacher.parameters())


def test_a_script_moves_to_another_type(tmp_path: Path) -> None:
    network = convolutional()
    teacher = trusted(script('scripted', network, tmp_path / 'net.pt'))
    teacher.double()
    images_BCHW = images().double()
    torch.testing.assert_close(
        teacher(images_BCHW).logits_BK, expected(network.double(),
                                                 images_BCHW))


@pytest.mark.parametrize('fields', [{}, dict(trust_checkpoint=False)])
def test_a_script_runs_only_if_it_is_trusted(tmp_path: Path,
                                             fields: dict) -> None:
    path = script('scripted', convolutional(), tmp_path / 'net.pt')
    with pytest.raises(
            UserError, match='not run: set '
            'model.teacher.trust_checkpoint=True'):
        TorchScriptTeacher(path, **fields, **FIELDS)


@pytest.mark.parametrize('content', ['text', 'weights', 'nothing'])
def test_a_file_that_is_no_script_is_a_user_error(tmp_path: Path,
                                                  content: str) -> None:
    path = tmp_path / 'net.pt'
    path.write_bytes(b'text' if content == 'text' else b'')
    if content == 'weights':
        torch.save(convolutional().state_dict(), path)
    with pytest.raises(
            UserError, match='net.pt is not a TorchScript file') as caught:
        trusted(path)
    assert '\n' not in str(caught.value)
