"""Whether the package works with the libraries that are installed.

A teacher is trained, a student is distilled and resumed, two processes train
together, and the student is exported: what a user does, with few steps.
"""
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_TADFKD = ['-m', 'tadfkd.cli']
_TWO = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2']
_DISTIL = [
    'train', 'tadfkd::tadfkd/resnet18w16_to_resnet18w8_digits.py',
    '--teacher-checkpoint', 'teacher/epoch_1.pth'
]
_FEW_STEPS = [
    '--cfg-options', 'model.batch_size=16', 'model.num_student_steps=1',
    'train_dataloader.dataset.num_steps=2'
]
#: What follows ``python``, and a file that is there afterwards.
STEPS: dict[str, tuple[list[str], str]] = {
    'train a teacher': ([
        *_TADFKD, 'train', 'tadfkd::teachers/resnet18w16_digits.py',
        '--work-dir', 'teacher', '--cfg-options', 'train_cfg.max_epochs=1'
    ], 'teacher/epoch_1.pth'),
    'distil': ([
        *_TADFKD, *_DISTIL, '--work-dir', 'run', *_FEW_STEPS,
        'train_cfg.max_epochs=1'
    ], 'run/epoch_1.pth'),
    'resume': ([
        *_TADFKD, *_DISTIL, '--work-dir', 'run', '--resume', *_FEW_STEPS,
        'train_cfg.max_epochs=2'
    ], 'run/epoch_2.pth'),
    'two processes': ([
        *_TWO, *_TADFKD, *_DISTIL, '--work-dir', 'two', '--launcher',
        'pytorch', *_FEW_STEPS, 'train_cfg.max_epochs=1'
    ], 'two/student/model.safetensors'),
    'export': ([*_TADFKD, 'export', 'run', '--format',
                'torchscript'], 'run/student/student.ts.pt'),
}


def smoke_test() -> dict[str, Any]:
    """Do all steps in an empty folder.

    Returns:
        ``seconds``, on the clock, by step, and ``resumed``, some results of
        the resumed run.

    Raises:
        RuntimeError: If a step fails, with its output.
    """
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (words, file) in STEPS.items():
            begin = time.perf_counter()
            process = subprocess.run([sys.executable, *words],
                                     cwd=folder,
                                     stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT,
                                     text=True)
            if process.returncode or not Path(folder, file).is_file():
                raise RuntimeError(
                    f'{process.stdout}\n"{name}" ended with exit code '
                    f'{process.returncode}; it should write {file}')
            seconds[name] = round(time.perf_counter() - begin, 1)
            print(f'{name}: {seconds[name]} s', flush=True)
        summary = json.loads(Path(folder, 'run/summary.json').read_text())
    resumed = {
        key: summary[key]
        for key in ('algorithm', 'student_steps', 'agreement_last',
                    'student_top1_last', 'finished')
    }
    return dict(seconds=seconds, resumed=resumed)
