"""tools/export.py and tools/predict.py, as a user calls them."""
import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

Run = Callable[..., subprocess.CompletedProcess]

DIGITS = 'configs/tadfkd/resnet18w16_to_resnet18w8_digits.py'


def test_a_run_leaves_a_student_that_classifies_files(run_tool_process: Run,
                                                      teacher_of: Callable[
                                                          [str], Path],
                                                      tmp_path: Path) -> None:
    run_tool_process('train.py', DIGITS, '--work-dir',
                     tmp_path / 'run', '--teacher-checkpoint',
                     teacher_of('resnet18w16_digits'), '--cfg-options',
                     'model.batch_size=8', 'model.num_student_steps=1',
                     'train_cfg.max_epochs=1',
                     'train_dataloader.dataset.num_steps=1',
                     'default_hooks.teacher_sanity.min_top1=0')
    folder = tmp_path / 'run' / 'student'
    first = {'model.safetensors', 'config.json', 'student.pt2'}
    assert {path.name for path in folder.iterdir()} == first
    process = run_tool_process('export.py', tmp_path / 'run', '--format',
                               'torchscript')
    assert process.stdout.splitlines()[-1] == str(folder)
    # The weights are those of the hook, so its file stays.
    assert {path.name
            for path in folder.iterdir()} == first | {'student.ts.pt'}
    content = json.loads((folder / 'config.json').read_text())
    assert content['parity'].keys() == {
        'safetensors', 'torch.export', 'torchscript'
    }

    Image.new('RGB', (20, 20), 'white').save(tmp_path / 'white.png')
    run_tool_process('predict.py', folder, tmp_path / '*.png', '--out',
                     tmp_path / 'table.csv')
    with open(tmp_path / 'table.csv') as file:
        [row] = csv.DictReader(file)
    logits_K = torch.jit.load(folder / 'student.ts.pt')(torch.ones(
        1, 1, 16, 16))[0]
    assert row['path'] == str(tmp_path / 'white.png')
    assert int(row['class']) == int(logits_K.argmax())
    assert abs(float(row['probability']) - logits_K.softmax(0).max()) < 1e-4


def test_mistakes_end_in_one_sentence(run_tool_process: Run,
                                      tmp_path: Path) -> None:
    for tool, arguments in (('export.py', [tmp_path]), ('predict.py',
                                                        [tmp_path, tmp_path])):
        process = run_tool_process(tool, *arguments, check=False)
        assert process.returncode == 1
        assert process.stderr.splitlines()[-1].startswith('error: ')
        assert 'Traceback' not in process.stderr
