"""Preempts two runs of a sweep in a job array of Slurm.

One run is told to go by ``scontrol requeue``, and the other by the signal that
submitit asks Slurm for. Their ends are compared with those of runs that nobody
disturbed.
"""
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import submitit

from benchmarks.records import write_record
from benchmarks.run_end import differences, read_run_end
from tadfkd.cli import main
from tadfkd.sweeps.run_status import read_status

SEEDS = (0, 1)


def sweep(out: Path, *more: str) -> int:
    """Call ``tadfkd sweep``. Returns its exit code."""
    print('tadfkd sweep --out', out, *more, flush=True)
    try:
        main([
            'sweep', '--config',
            'configs/tadfkd/resnet18w16_to_resnet18w8_digits.py', '--teacher',
            'configs/teachers/vgg11bn_digits.py', '--seeds', *map(str, SEEDS),
            '--out',
            str(out), *more, '--cfg-options', 'model.batch_size=16',
            'train_cfg.max_epochs=4', 'train_dataloader.dataset.num_steps=4',
            'default_hooks.samples.num_images=16',
            'default_hooks.summary.num_images=16'
        ])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def folder(out: Path, seed: int) -> Path:
    """The work directory of a run."""
    return out / ('vgg11bn_digits/tadfkd_resnet18w16_to_resnet18w8_digits/'
                  f'seed_{seed}')


def call(*words: str) -> str:
    """What a command prints."""
    return subprocess.run(
        words, capture_output=True, text=True, check=True).stdout.strip()


def wait(what: str, is_so: Callable[[], object], seconds: float = 900) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.2)


def end(path: Path) -> dict:
    """The end of a run, without who made it."""
    found = read_run_end(path)
    del found['status.json']
    return found


out, record = map(Path, sys.argv[1:])
code = sweep(out / 'slurm', '--launch', 'slurm', '--slurm', 'timeout_min=60')
array = call('squeue', '-h', '-o', '%F').split('\n')[0]
print(call('squeue'), flush=True)
preempted = {}
ways = (('scontrol', 'requeue'), ('scancel', '--signal=USR2'))
for seed, words in zip(SEEDS, ways):
    run = folder(out / 'slurm', seed)
    wait(f'a checkpoint of seed {seed}', (run / 'last_checkpoint').is_file)
    print(*words, call(*words, f'{array}_{seed}'), flush=True)
    wait(
        f'the stop of seed {seed}',
        lambda run=run: read_status(run)['state'] == 'interrupted')
    preempted[seed] = dict(
        by=' '.join(words),
        **read_status(run),
        saved=(run / 'last_checkpoint').read_text().rpartition('/')[2])
    print(preempted[seed], flush=True)
wait('the end of both', lambda: not call('squeue', '-h'))
states = [read_status(folder(out / 'slurm', seed)) for seed in SEEDS]
print(states, flush=True)
whole = sweep(out / 'whole', '--launch', 'local:1')
again = sweep(out / 'slurm', '--launch', 'slurm')
write_record(
    record,
    dict(
        command='sh docs/measured/sweep/slurm.sh',
        slurm=call('sinfo', '--version'),
        submitit=submitit.__version__,
        job_array=array,
        preempted=preempted,
        starts=[state['starts'] for state in states],
        ended=[state['state'] for state in states],
        exit_codes=dict(slurm=code, undisturbed=whole, called_again=again),
        jobs_of_the_second_call=call('squeue', '-h'),
        differences=[
            differences(*(end(folder(out / part, seed))
                          for part in ('whole', 'slurm'))) for seed in SEEDS
        ]))
