"""Two processes hold one student and draw numbers of their own."""
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]


def run(config: str, work_dir: Path, options: dict[str, Any], port: int,
        resume: bool) -> list[dict]:
    """Train in two processes; what each of them holds at the end."""
    subprocess.run([
        sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2',
        f'--master_port={port}', ROOT / 'tests/test_tools/two_processes.py',
        config, work_dir, 'resume' if resume else 'start',
        *(f'{key}={value}' for key, value in options.items())
    ],
                   check=True,
                   cwd=ROOT,
                   timeout=300)
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


def test_two_processes_agree_after_training_and_after_resuming(
        digits_config: str, tiny_options: dict[str, Any], tmp_path: Path,
        free_port: Callable[[], int]) -> None:
    whole = run(digits_config, tmp_path / 'whole', tiny_options, free_port(),
                False)
    assert_one_student_and_two_streams(whole)

    # As if the run had been stopped after its first epoch.
    cut = tmp_path / 'cut'
    shutil.copytree(tmp_path / 'whole', cut)
    (cut / 'epoch_2.pth').unlink()
    (cut / 'last_checkpoint').write_text(str(cut / 'epoch_1.pth'))
    resumed = run(digits_config, cut, tiny_options, free_port(), True)
    assert_one_student_and_two_streams(resumed)
    for before, after in zip(whole, resumed):
        for key, value in before['networks'].items():
            assert value.equal(after['networks'][key]), key
