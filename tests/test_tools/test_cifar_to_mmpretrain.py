"""tools/model_converters/cifar_to_mmpretrain.py as a user calls it."""
import runpy
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from public_networks import PublicWideResNet

from tadfkd.converters import STATISTICS
from tadfkd.teachers import MMPretrainTeacher

TOOL = 'model_converters/cifar_to_mmpretrain.py'


def test_it_converts_and_says_what(run_tool_process: Callable[
    ..., subprocess.CompletedProcess], tmp_path: Path) -> None:
    network = PublicWideResNet(16, 2)
    torch.save(dict(state_dict=network.state_dict()), tmp_path / 'a.pth')
    process = run_tool_process(TOOL, tmp_path / 'a.pth',
                               tmp_path / 'out/b.pth', '--dataset', 'cifar10')
    lines = process.stdout.splitlines()
    assert lines[-2] == ('WRN-16-2, 10 classes, 3 input channels, from conv1, '
                         'block1.layer.0.conv1, bn1, fc')
    teacher = MMPretrainTeacher(
        str(tmp_path / 'out/b.py'), checkpoint=str(tmp_path / 'out/b.pth'))
    images = torch.rand(2, 3, 32, 32)
    mean, std = (
        torch.tensor(values).view(3, 1, 1) / 255
        for values in STATISTICS['cifar10'])
    with torch.no_grad():
        torch.testing.assert_close(
            teacher(images).logits_BK,
            network((images - mean) / std),
            rtol=1e-4,
            atol=1e-4)


def message_of(monkeypatch: pytest.MonkeyPatch,
               capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The error of the tool, which runs in this process to save time."""
    path = str(Path(__file__).resolve().parents[2] / 'tools' / TOOL)
    monkeypatch.setattr('sys.argv', [path, *map(str, arguments)])
    with pytest.raises(SystemExit) as error:
        runpy.run_path(path, run_name='__main__')
    assert error.value.code == 1
    return capsys.readouterr().err


@pytest.mark.parametrize('arguments', [
    (),
    ('--mean', 1, 2, 3),
    ('--dataset', 'cifar10', '--mean', 1, 2, 3, '--std', 1, 2, 3),
])
def test_statistics_must_be_said_in_one_way(
        arguments: tuple, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    message = message_of(monkeypatch, capsys, 'a.pth', 'b.pth', *arguments)
    assert message.startswith('error: the normalisation of the inputs must')
    assert 'give --dataset cifar10 or cifar100, or both' in message
