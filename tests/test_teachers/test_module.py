"""Teachers from anywhere: factories and TorchScript files."""
import sys
from functools import partial
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
    """What a network answers to normalised images."""
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
        '        super().__init__(nn.Flatten(), nn.Linear(432, classes))\n'
        'def broken(**arguments):\n'
        '    raise OSError("no such data")\n'
        'def weights(**arguments):\n'
        '    return Net().state_dict()\n'
        'number = 3\n')
    (folder / 'unimportable.py').write_text('import no_such_library\n')
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
    assert teacher.facts['weights'] == ('those it came with', 'model.teacher')
    images_BCHW = images()
    torch.testing.assert_close(
        teacher(images_BCHW).logits_BK, expected(teacher.network, images_BCHW))


@pytest.mark.parametrize('factory', [
    convolutional,
    partial(convolutional, in_channels=3),
    lambda num_classes: convolutional(num_classes),
])
def test_a_factory_may_be_a_callable(factory: Any) -> None:
    teacher = ModuleTeacher(factory, arguments=dict(num_classes=4), **FIELDS)
    assert teacher.num_classes == 4
    assert len(teacher.bn_layers) == 2


@pytest.mark.parametrize('path, problem', [
    ('nets', "must be 'package.module:function', got 'nets'"),
    ('nets.Net', "must be 'package.module:function', got 'nets.Net'"),
    (':Net', "must be 'package.module:function', got ':Net'"),
    ('nets:', "must be 'package.module:function', got 'nets:'"),
    ('nets:Net()', "must be 'package.module:function', got 'nets:Net()'"),
    ('no_such_package.nets:Net', 'no_such_package.nets cannot be imported'),
    ('users_own_networks.unimportable:Net', "No module named 'no_such_lib"),
    ('users_own_networks.nets:Nat', 'users_own_networks.nets has no Nat'),
    (5, "must be 'package.module:function', got 5"),
    (None, "must be 'package.module:function', got None"),
    (nn.Flatten(), None),
])
@pytest.mark.usefixtures('package')
def test_a_path_that_leads_nowhere_names_the_field(
        path: object, problem: str | None) -> None:
    with pytest.raises(UserError) as caught:
        ModuleTeacher(path, **FIELDS)
    assert (problem or 'factory') in str(caught.value)
    assert problem is None or 'model.teacher.factory' in str(caught.value)


@pytest.mark.parametrize('name, arguments, problem', [
    ('broken', None, 'the factory broken of the teacher failed (OSError: no '
     'such data)'),
    ('Net', dict(klasses=3), 'the factory Net of the teacher failed '
     '(TypeError'),
    ('number', None, "'int' object is not callable"),
    ('weights', None, 'the factory weights of the teacher must make a '
     'torch.nn.Module'),
])
def test_a_factory_that_makes_no_network_is_a_user_error(
        package: str, name: str, arguments: dict | None, problem: str) -> None:
    with pytest.raises(UserError) as caught:
        ModuleTeacher(f'{package}:{name}', arguments=arguments, **FIELDS)
    assert problem in str(caught.value)
    # One sentence, however much the factory returned.
    assert '\n' not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize('name', list(FIELDS))
def test_only_its_owner_knows_normalisation_and_size(name: str) -> None:
    fields = {field: value for field, value in FIELDS.items() if field != name}
    with pytest.raises(UserError, match=f'set model.teacher.{name} to'):
        ModuleTeacher(convolutional, **fields)


def test_the_weights_of_the_checkpoint_are_loaded(tmp_path: Path) -> None:
    network = convolutional()
    path = tmp_path / 'weights.pth'
    torch.save(network.state_dict(), path)
    teacher = ModuleTeacher(convolutional, checkpoint=str(path), **FIELDS)
    images_BCHW = images()
    torch.testing.assert_close(
        teacher(images_BCHW).logits_BK, expected(network, images_BCHW))
    assert teacher.facts['weights'].value.startswith(str(path))


def test_a_network_that_was_given_is_not_left_in_train_mode() -> None:
    network = nn.Sequential(convolutional(), nn.Dropout(0.9)).train()
    teacher = ModuleTeacher(lambda: network, **FIELDS)
    images_BCHW = images()
    assert torch.equal(
        teacher(images_BCHW).logits_BK,
        teacher(images_BCHW).logits_BK)
    assert network[0][1].num_batches_tracked == 0


class Answers(nn.Module):
    """Puts the logits of a network into something."""

    def __init__(self, network: nn.Module, wrap: Any) -> None:
        super().__init__()
        self.network = network
        self.wrap = wrap

    def forward(self, inputs_BCHW: Tensor) -> Any:
        return self.wrap(self.network(inputs_BCHW))


@pytest.mark.parametrize('wrap, output, factor', [
    (lambda logits_BK: (logits_BK, ), None, 1),
    (lambda logits_BK: dict(logits=logits_BK, hidden=None), None, 1),
    (lambda logits_BK: (None, 2 * logits_BK), 1, 2),
    (lambda logits_BK: dict(a=None, b=3 * logits_BK), 'b', 3),
    (lambda logits_BK: [logits_BK, 3 * logits_BK], 'sum', 4),
    (lambda logits_BK: logits_BK[:, :, None, None], None, 1),
])
def test_the_logits_may_be_a_part_of_the_answer(wrap: Any, output: Any,
                                                factor: int) -> None:
    network = convolutional()
    teacher = ModuleTeacher(
        lambda: Answers(network, wrap), output=output, **FIELDS)
    images_BCHW = images()
    torch.testing.assert_close(
        teacher(images_BCHW).logits_BK,
        factor * expected(network, images_BCHW))


@pytest.mark.parametrize('wrap, output, problem', [
    (lambda logits_BK: (logits_BK, logits_BK), None, 'model.teacher.output'),
    (lambda logits_BK: (logits_BK, logits_BK), 2, 'no part 2'),
    (lambda logits_BK: logits_BK.argmax(1), None, 'int64'),
    (lambda logits_BK: logits_BK[:1], None, '(1, 5)'),
    (lambda logits_BK:
     (logits_BK, logits_BK[:, 1:]), 'sum', 'model.teacher.output'),
    (lambda logits_BK: logits_BK[:, :1], None, 'at least 2 classes apart'),
])
def test_an_answer_without_logits_is_refused_at_once(wrap: Any, output: Any,
                                                     problem: str) -> None:
    with pytest.raises(UserError) as caught:
        ModuleTeacher(
            lambda: Answers(convolutional(), wrap), output=output, **FIELDS)
    assert problem in str(caught.value)


def test_a_network_of_hugging_face_answers_with_its_logits() -> None:
    transformers = pytest.importorskip('transformers')
    network = transformers.ResNetForImageClassification(
        transformers.ResNetConfig(
            num_labels=4, embedding_size=8, hidden_sizes=[8], depths=[1]))
    teacher = ModuleTeacher(lambda: network, **FIELDS)
    images_BCHW = images()
    torch.testing.assert_close(
        teacher(images_BCHW).logits_BK,
        network((images_BCHW - 0.5) / 0.25).logits)


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
    teacher = trusted(path)
    assert teacher.facts['weights'] == (path, 'model.teacher')
    teacher.train()
    # The first calls of a script profile, later ones are optimised.
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


@pytest.mark.parametrize('kind', KINDS)
def test_a_script_has_neither_statistics_nor_features(kind: str,
                                                      tmp_path: Path) -> None:
    teacher = trusted(script(kind, convolutional(), tmp_path / 'net.pt'))
    assert teacher.bn_layers == []
    assert teacher(images(), with_bn=True).bn_statistics == ()
    with pytest.raises(UserError, match='no penultimate features'):
        teacher(images(), with_features=True)


@pytest.mark.parametrize('kind', ['scripted', 'traced'])
def test_a_script_tells_its_channels(kind: str, tmp_path: Path) -> None:
    path = script(kind, convolutional(), tmp_path / 'net.pt')
    # One mean for all channels does not.
    teacher = trusted(path, mean=[127.5], std=[127.5])
    assert teacher.facts['num_channels'] == (3, 'the first convolution')


def test_a_frozen_script_with_one_mean_is_told_its_channels(
        tmp_path: Path) -> None:
    path = script('frozen', convolutional(), tmp_path / 'net.pt')
    with pytest.raises(UserError, match='set .*model.teacher.num_channels'):
        trusted(path, mean=[127.5], std=[127.5])
    teacher = trusted(path, mean=[127.5], std=[127.5], num_channels=3)
    assert teacher(images()).logits_BK.shape == (4, 5)


def test_a_script_within_a_network_is_taken(tmp_path: Path) -> None:
    for kind in KINDS:
        path = script(kind, convolutional(), tmp_path / f'{kind}.pt')
        teacher = ModuleTeacher(
            lambda path=path: nn.Sequential(torch.jit.load(path)), **FIELDS)
        assert teacher(images()).logits_BK.shape == (4, 5)


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
            UserError, match='net.pt is no TorchScript file') as caught:
        trusted(path)
    assert '\n' not in str(caught.value)


def test_a_script_that_does_not_exist_names_the_field(tmp_path: Path) -> None:
    with pytest.raises(
            UserError, match='does not exist: set model.teacher.checkpoint'):
        trusted(tmp_path / 'missing.pt')


@pytest.mark.parametrize('name', list(FIELDS))
def test_a_script_tells_neither_normalisation_nor_size(tmp_path: Path,
                                                       name: str) -> None:
    path = script('traced', convolutional(), tmp_path / 'net.pt')
    with pytest.raises(UserError, match=f'set model.teacher.{name} to'):
        trusted(path, **{name: None})


def test_a_script_for_one_batch_size_is_refused_at_once(
        tmp_path: Path) -> None:

    class FourImages(nn.Module):

        def forward(self, inputs_BCHW: Tensor) -> Tensor:
            return inputs_BCHW.reshape(4, 432)

    path = script('traced', FourImages(), tmp_path / 'net.pt')
    with pytest.raises(UserError, match='the teacher cannot take images'):
        trusted(path)
