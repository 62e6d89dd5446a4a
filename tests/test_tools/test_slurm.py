"""Slurm's launcher, with an srun that starts real processes here."""
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tool_processes import ROOT

from tadfkd.checkpoints.reading import read_checkpoint

SRUN = '''#!/usr/bin/env bash
# Writes down its options, and starts the command once per task.
set -u
echo "$@" > "$(dirname "$0")/options"
while [[ $1 == -* ]]; do
    case $1 in
        --ntasks=*) TASKS=${1#*=} ;;
        -p) shift ;;
    esac
    shift
done
export SLURM_NTASKS=$TASKS SLURM_NODELIST='node[1-1]'
for ((task = 0; task < TASKS; task++)); do
    SLURM_PROCID=$task SLURM_LOCALID=$task "$@" &
    TASK_IDS+=($!)
done
CODE=0
for task in "${TASK_IDS[@]}"; do wait "$task" || CODE=$?; done
exit $CODE
'''
SCONTROL = '''#!/usr/bin/env bash
# The hosts of the node list above.
[[ "$*" == 'show hostnames node[1-1]' ]] && echo 127.0.0.1
'''


@pytest.mark.long
def test_slurm_starts_one_process_per_task(digits_config: str,
                                           tiny_options: dict[str, Any],
                                           free_port: Callable[[], int],
                                           tmp_path: Path) -> None:
    for name, text in dict(srun=SRUN, scontrol=SCONTROL).items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    process = subprocess.run([
        ROOT / 'tools/slurm_train.sh', 'gpu_partition', 'my_job',
        digits_config, '--work-dir', tmp_path / 'run', '--no-eval',
        '--cfg-options', 'train_cfg.max_epochs=1', 'default_hooks.report=None',
        *(f'{key}={value}' for key, value in tiny_options.items()
          if key != 'train_cfg.max_epochs')
    ],
                             cwd=ROOT,
                             env=dict(
                                 os.environ,
                                 PATH=f'{tmp_path}:{os.environ["PATH"]}',
                                 PYTHON=sys.executable,
                                 GPUS='2',
                                 GPUS_PER_NODE='2',
                                 CPUS_PER_TASK='1',
                                 GRES='',
                                 SRUN_ARGS='--qos=low --exclusive',
                                 MASTER_PORT=str(free_port())),
                             capture_output=True,
                             text=True,
                             timeout=240)
    assert process.returncode == 0, process.stdout + process.stderr
    assert len(
        read_checkpoint(tmp_path / 'run/epoch_1.pth')['training_state']) == 2
    options = (tmp_path / 'options').read_text()
    assert options.startswith('-p gpu_partition --job-name=my_job --ntasks=2 '
                              '--ntasks-per-node=2 --cpus-per-task=1 ')
    assert ' --qos=low --exclusive ' in options
    assert '--gres' not in options
