"""What docs/seven_users.md says to seven kinds of user, in empty folders.

Each command is run as the page prints it, with options that make runs short.
"""
import csv
import json
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from tool_processes import ROOT, run_forked

from tadfkd.apis import load_config
from tadfkd.checkpoints.reading import read_checkpoint
from tadfkd.classifiers.build import build_classifier

#: For the config that `tadfkd check --write` writes.
SHORT = {
    'model.generator.width': 4,
    'model.generator.latent_size': 16,
    'model.batch_size': 8,
    'model.synthesis_batch_size': 8,
    'model.procedural.size': 16,
    'model.procedural.num_candidates': 32,
    'model.num_generator_steps': 1,
    'model.num_student_steps': 1,
    'model.num_first_syntheses': 1,
    'model.num_further_images': 0,
    'train_cfg.max_epochs': 1,
    'train_dataloader.dataset.num_steps': 1,
}
NO_FILES = {'default_hooks.student_files': None, 'default_hooks.report': None}
#: For a teacher that was hardly trained.
ANY_TEACHER = {'default_hooks.teacher_sanity.min_top1': 0}


def blocks(page: str, heading: str, language: str) -> list[str]:
    """The blocks of a language in a section of a page, and its subsections."""
    text = (ROOT / 'docs' / page).read_text()
    [section] = re.findall(rf'^## {heading}\n((?:(?!## ).*\n)*)', text, re.M)
    return [
        block for found, block in re.findall(
            r'^```(.*)\n((?:.*\n)*?)```$', section, re.M) if found == language
    ]


def write_files(sources: list[str], folder: Path) -> None:
    """Write the blocks of code that begin with the names of their files."""
    for source in sources:
        path = folder / source.partition('\n')[0].removeprefix('# ')
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)


def run(commands: list[str], folder: Path, options: dict[str, Any]) -> None:
    """Run the commands of the only block of a section, at most three."""
    [block] = commands
    lines = block.replace('\\\n', '').splitlines()
    assert len(lines) <= 3
    for line in lines:
        program, *words = shlex.split(line)
        if 'train' in words:
            words.append('--cfg-options')
            words += [f'{key}={value}' for key, value in options.items()]
        if program == 'tadfkd':
            tool = words[0].replace('check', 'check_teacher')
            process = run_forked(
                ROOT / 'tools' / f'{tool}.py', words[1:], cwd=folder)
        else:
            assert program == 'torchrun'
            process = subprocess.run(
                [sys.executable, '-m', 'torch.distributed.run', *words],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=300)
        assert process.returncode == 0, process.stdout + process.stderr


def finished(work_dir: Path) -> dict[str, Any]:
    """The summary of a run that has ended."""
    summary = json.loads((work_dir / 'summary.json').read_text())
    assert summary['finished'] and summary['student_steps'] > 0
    return summary


@pytest.fixture(scope='module')
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the first user, at the end."""
    folder = tmp_path_factory.mktemp('own')
    section = 'seven_users.md', 'A PyTorch classifier of your own'
    write_files(blocks(*section, 'python'), folder)
    network = runpy.run_path(str(folder / 'net.py'))['teacher']()
    torch.save(network.state_dict(), folder / 'teacher.pth')
    run(blocks(*section, ''), folder, SHORT)
    return folder


def test_a_classifier_of_ones_own(own: Path) -> None:
    assert finished(own / 'work_dirs/my_run')['student_steps'] == 1
    config = load_config(own / 'my_run.py')
    assert config.model.type == 'AgnosticDFKD'
    assert config.model.generator.image_size == (28, 28)
    # It was written for a run without data.
    assert config.val_dataloader is None
    files = {path.name for path in own.glob('work_dirs/my_run/student/*')}
    assert files == {'model.safetensors', 'config.json', 'student.pt2'}


def test_shipping(own: Path) -> None:
    (own / 'photos').mkdir()
    Image.new('RGB', (20, 20), 'white').save(own / 'photos/white.png')
    run(blocks('seven_users.md', 'Shipping', ''), own, {})
    student = own / 'work_dirs/my_run/student'
    # The weights are those of the hook, so its file stays.
    assert json.loads(
        (student / 'config.json').read_text())['parity'].keys() == {
            'safetensors', 'torch.export', 'onnx', 'torchscript'
        }
    with open(own / 'classes.csv') as file:
        [row] = csv.DictReader(file)
    logits_K = torch.jit.load(student / 'student.ts.pt')(torch.ones(
        1, 1, 28, 28))[0]
    assert row['path'] == 'photos/white.png'
    assert int(row['class']) == int(logits_K.argmax())
    assert abs(float(row['probability']) - logits_K.softmax(0).max()) < 1e-4


# `tests/test_distributed` has short runs of two processes.
@pytest.mark.long
def test_two_processes_of_a_cluster(own: Path) -> None:
    run(blocks('seven_users.md', 'A cluster', ''), own, SHORT | NO_FILES)
    finished(own / 'work_dirs/two')
    checkpoint = read_checkpoint(own / 'work_dirs/two/epoch_1.pth')
    assert len(checkpoint['training_state']) == 2


def test_timm_with_five_classes(tmp_path: Path) -> None:
    timm = pytest.importorskip('timm')
    network = timm.create_model('mobilenetv3_small_100', num_classes=5)
    torch.save(network.state_dict(), tmp_path / 'teacher.pth')
    run(
        blocks('seven_users.md', 'timm with 5 classes', ''), tmp_path,
        SHORT | NO_FILES)
    finished(tmp_path / 'work_dirs/my_run')
    weights = read_checkpoint(tmp_path /
                              'work_dirs/my_run/epoch_1.pth')['state_dict']
    [head] = [
        value for name, value in weights.items()
        if re.match(r'student\..*classifier\.bias$', name)
    ]
    assert len(head) == 5


def test_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    [example] = blocks('your_teacher.md', 'In one line of Python', 'python')
    names: dict[str, Any] = {}
    exec(
        example.replace('range(500)', 'range(20)').replace(
            'steps=750', f'steps=1, options={SHORT | NO_FILES | ANY_TEACHER}'),
        names)
    assert np.isfinite(names['run'].summary['agreement_last'])
    assert names['run'].summary['student_top1_last'] is not None
    # The lines of the page are those of the example.
    [lines] = blocks('seven_users.md', 'A notebook', 'python')
    *_, call, export = lines.splitlines()
    assert call.removesuffix(')') in ' '.join(example.split()).replace(
        'teacher=teacher, student=network(8)', 'teacher=net, student=small')
    path = eval(export, names)
    assert path.is_relative_to('work_dirs/distill') and path.is_file()


def test_a_user_of_mmpretrain(tmp_path: Path) -> None:
    section = 'seven_users.md', 'mmpretrain'
    write_files(blocks(*section, 'python'), tmp_path)
    narrow = {
        'model.teacher.model.backbone.base_channels': 4,
        'model.teacher.model.backbone.stem_channels': 4,
        'model.teacher.model.head.in_channels': 32
    }
    config: Config = load_config(tmp_path / 'mobilenet.py', narrow)
    network = build_classifier(config.model.teacher.model.to_dict())
    torch.save(network.state_dict(), tmp_path / 'teacher.pth')
    run(
        blocks(*section, ''), tmp_path, narrow | NO_FILES | {
            'model.batch_size': 4,
            'model.num_student_steps': 1,
            'model.generator.width': 4,
            'train_cfg.max_epochs': 1,
            'train_dataloader.dataset.num_steps': 1
        })
    finished(tmp_path / 'work_dirs/mobilenet')


def test_a_new_method(tmp_path: Path, tiny_options: dict[str, Any]) -> None:
    text = (ROOT / 'docs/write_an_algorithm.md').read_text()
    write_files(
        re.findall(r'^```python\n(.*?)^```$', text, re.M | re.S), tmp_path)
    checkpoint = Path(tiny_options.pop('model.teacher.checkpoint'))
    (tmp_path / 'teacher.pth').symlink_to(checkpoint)
    commands = blocks('seven_users.md', 'A new method', '')
    assert commands == blocks('write_an_algorithm.md', 'The run', '')
    run(
        commands, tmp_path, tiny_options | NO_FILES | {
            'train_cfg.max_epochs': 1,
            'default_hooks.logger.interval': 1
        })
    work_dir = tmp_path / 'work_dirs/my_dfkd/confident_dfad_digits'
    assert finished(work_dir)['algorithm'] == 'ConfidentDFAD'
    [log] = work_dir.glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert {'generator_confidence', 'generator_adversarial'} <= rows[0].keys()
