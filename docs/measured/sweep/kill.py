"""Kills a sweep with SIGKILL in its middle, and calls it again.

The whole process group dies. The second call must make what is missing, and
nothing twice. Then a run that fails must be a row beside the others.
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.records import write_record
from benchmarks.run_end import differences, read_run_end
from tadfkd.sweeps.collecting import collect, sweep_table
from tadfkd.sweeps.run_status import read_status

CONFIGS = [
    f'configs/{name}/resnet18w16_to_resnet18w8_digits.py'
    for name in ('tadfkd', 'dfad')
]
TEACHERS = [
    f'configs/teachers/{name}_digits.py' for name in ('vgg11bn', 'vitw64')
]
OPTIONS = [
    '--cfg-options', 'model.batch_size=16', 'train_cfg.max_epochs=4',
    'train_dataloader.dataset.num_steps=4',
    'default_hooks.samples.num_images=16',
    'default_hooks.summary.num_images=16'
]


def start(*words: str) -> subprocess.Popen:
    """Start ``tadfkd`` in a process group of its own."""
    print('tadfkd', *words, flush=True)
    return subprocess.Popen([sys.executable, '-m', 'tadfkd.cli', *words],
                            start_new_session=True)


def sweep(out: Path, configs: list[str], teachers: list[str],
          seeds: str) -> subprocess.Popen:
    """Start a sweep of two runs at a time."""
    return start('sweep', '--config',
                 *configs, '--teacher', *teachers, '--seeds', seeds, '--out',
                 str(out), '--launch', 'local:2', *OPTIONS)


def states(out: Path) -> dict[str, dict]:
    """The status of each run by its folder, and when its files changed."""
    return {
        str(folder.relative_to(out)):
        read_status(folder) | dict(changed={
            path.name: path.stat().st_mtime_ns
            for path in folder.glob('*.[jp]*')
        })
        for folder in sorted(out.glob('*/*/seed_*'))
    }


def end(folder: Path) -> dict:
    """The end of a run, without who made it."""
    found = read_run_end(folder)
    del found['status.json']
    return found


folder = Path(tempfile.mkdtemp())
out = folder / 'runs'
first = sweep(out, CONFIGS, TEACHERS, '0:2')
while True:
    found = states(out)
    count = sum(each['state'] == 'finished' for each in found.values())
    # One run at least has something to lose.
    if count >= 3 and any(each['state'] == 'running' and
                          (out / name / 'last_checkpoint').is_file()
                          for name, each in found.items()):
        break
    assert first.poll() is None
    time.sleep(0.2)
os.killpg(first.pid, signal.SIGKILL)
first.wait()
time.sleep(1)
killed = states(out)
print(sweep_table(collect(out)), flush=True)
second = sweep(out, CONFIGS, TEACHERS, '0:2').wait()
done = states(out)
resumed = [
    name for name, each in killed.items() if each['state'] == 'interrupted'
]
# Those that were killed, made without a kill.
whole = folder / 'whole'
for name in resumed:
    teacher, config, seed = Path(name).parts
    assert sweep(whole, [
        path for path in CONFIGS if Path(path).parent.name in config
    ][:1], [path for path in TEACHERS if teacher in path],
                 seed.removeprefix('seed_')).wait() == 0
third = sweep(out, CONFIGS[:1], [TEACHERS[0], 'no_such_module:network'],
              '0').wait()
write_record(
    Path(sys.argv[1]),
    dict(
        command='sh docs/measured/sweep/run.sh',
        runs=len(done),
        when_killed={
            name: each['state']
            for name, each in killed.items()
        },
        starts={
            name: each['starts']
            for name, each in done.items()
        },
        ended={
            name: each['state']
            for name, each in done.items()
        },
        finished_before_and_changed_later=[
            name for name, each in killed.items()
            if each['state'] == 'finished' and each != done[name]
        ],
        differences_from_undisturbed_runs={
            name: differences(end(whole / name), end(out / name))
            for name in resumed
        },
        exit_codes=dict(
            killed=first.returncode, called_again=second,
            with_a_failure=third),
        table=sweep_table(collect(out)).split('\n')))
shutil.rmtree(folder)
