"""Two processes do together what one does, and go on where they were."""
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equivalence
import torch

ROOT = Path(__file__).resolve().parents[2]


def torchrun(port: int, *command: object,
             **environment: str) -> subprocess.CompletedProcess:
    """Run a script or module in two processes."""
    return subprocess.run([
        sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2',
        f'--master_port={port}', *map(str, command)
    ],
                          cwd=ROOT,
                          env=os.environ | environment,
                          capture_output=True,
                          text=True,
                          timeout=300)


def test_what_holds_in_each_of_two_processes(
        tmp_path: Path, free_port: Callable[[], int]) -> None:
    for type in equivalence.COMPARED:
        torch.save(equivalence.of_one_process(type), tmp_path / f'{type}.pth')
    process = torchrun(
        free_port(),
        '-m',
        'pytest',
        '-q',
        '-p',
        'no:cacheprovider',
        'tests/test_tools/checks_in_two_processes.py',
        REFERENCES=str(tmp_path))
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stdout.count(' passed') == 2


def run(config: str, work_dir: Path, options: dict[str, Any], port: int,
        resume: bool) -> list[dict]:
    """Train in two processes; what each of them holds at the end."""
    process = torchrun(port, ROOT / 'tests/test_tools/two_processes.py',
                       config, work_dir, 'resume' if resume else 'start',
                       *(f'{key}={value}' for key, value in options.items()))
    assert process.returncode == 0, process.stdout + process.stderr
    return [
        torch.load(work_dir / f'rank_{rank}.pth', weights_only=True)
        for rank in (0, 1)
    ]


def assert_one_student_and_two_streams(states: list[dict]) -> None:
    """Weights and statistics are equal, random streams are not."""
    first, second = (state['networks'] for state in states)
    assert first.keys() == second.keys()
    different = [key for key in first if not first[key].equal(second[key])]
    assert different == []
    first, second = (state['training_state']['streams'] for state in states)
    assert not first['latents'].equal(second['latents'])


def test_a_resumed_run_of_two_processes_ends_like_the_whole_one(
        digits_config: str, tiny_options: dict[str, Any], tmp_path: Path,
        free_port: Callable[[], int]) -> None:
    options = tiny_options | {
        # The checkpoints of epochs, made between them.
        'default_hooks.checkpoint.by_epoch': False,
        'default_hooks.checkpoint.interval': 2,
        'default_hooks.checkpoint.max_keep_ckpts': -1
    }
    whole = run(digits_config, tmp_path / 'whole', options, free_port(), False)
    assert_one_student_and_two_streams(whole)

    # As if the run had been stopped after its first epoch.
    cut = tmp_path / 'cut'
    shutil.copytree(tmp_path / 'whole', cut)
    (cut / 'iter_4.pth').unlink()
    (cut / 'last_checkpoint').write_text(str(cut / 'iter_2.pth'))
    resumed = run(digits_config, cut, options, free_port(), True)
    assert_one_student_and_two_streams(resumed)
    for before, after in zip(whole, resumed):
        torch.testing.assert_close(after, before, rtol=0, atol=0)
    histories = [
        json.loads((tmp_path / name / 'history.json').read_text())['epochs']
        for name in ('whole', 'cut')
    ]
    assert histories[0] == histories[1]
