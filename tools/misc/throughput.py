"""Compare N processes of one thread with one process of N threads.

Both train the same config on the same machine with the same total batch, in
turn; the figure is the ratio of their images a second.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from tadfkd.apis import load_config, train
from tadfkd.apis.command_line import (add_cfg_options, checkout_commit,
                                      run_tool, typed_command)
from tadfkd.errors import UserError
from tadfkd.utils.files import write_json

WORKER = '_TADFKD_THROUGHPUT'


class IterationTimes(Hook):
    """Notes when each iteration has ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def after_train_iter(self, runner: Runner, *unused: Any,
                         **also_unused: Any) -> None:
        """See mmengine."""
        self.ends.append(time.perf_counter())


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of a config that distils')
    parser.add_argument('--processes', type=int, default=2)
    parser.add_argument(
        '--iterations', type=int, default=20, help='that are measured')
    parser.add_argument(
        '--warmup', type=int, default=3, help='that come before')
    parser.add_argument(
        '--repeats', type=int, default=3, help='runs of each kind')
    parser.add_argument('--port', type=int, default=29500)
    parser.add_argument('--json', metavar='FILE', help='where figures go')
    add_cfg_options(parser)
    return parser.parse_args()


def work(task: dict[str, Any]) -> None:
    """Train in one of the processes; the first writes the seconds."""
    torch.set_num_threads(task['threads'])
    config = load_config(
        task['config'],
        task['options'],
        work_dir=task['folder'],
        launcher=task['launcher'],
        evaluate=False)
    times = IterationTimes()
    train(config, [times])
    if os.environ.get('RANK', '0') == '0':
        seconds = times.ends[-1] - times.ends[task['warmup'] - 1]
        Path(task['folder'], 'seconds').write_text(repr(seconds))


def measure(arguments: argparse.Namespace, processes: int) -> float:
    """Seconds an iteration of a new run."""
    total = load_config(arguments.config,
                        arguments.cfg_options).model.batch_size
    if total % arguments.processes:
        raise UserError(f'model.batch_size must be divisible by the number '
                        f'of processes ({arguments.processes}), got {total}: '
                        'set --cfg-options model.batch_size')
    with tempfile.TemporaryDirectory() as folder:
        task = dict(
            config=arguments.config,
            options=(arguments.cfg_options or {}) | {
                'model.batch_size':
                total // processes,
                'train_cfg.max_epochs':
                1,
                'train_dataloader.dataset.num_steps':
                arguments.warmup + arguments.iterations
            },
            folder=folder,
            warmup=arguments.warmup,
            threads=arguments.processes // processes,
            launcher='none' if processes == 1 else 'pytorch')
        launch = [] if processes == 1 else [
            '-m', 'torch.distributed.run', f'--nproc_per_node={processes}',
            f'--master_port={arguments.port}'
        ]
        subprocess.run([sys.executable, *launch, __file__],
                       check=True,
                       stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT,
                       env=os.environ | {
                           WORKER: json.dumps(task),
                           'OMP_NUM_THREADS': str(task['threads'])
                       })
        seconds = float(Path(folder, 'seconds').read_text())
    return seconds / arguments.iterations


def main() -> None:
    """Measure in turn, print, and write."""
    if WORKER in os.environ:
        work(json.loads(os.environ[WORKER]))
        return
    arguments = parse_arguments()
    seconds: dict[int, list[float]] = {1: [], arguments.processes: []}
    for _ in range(arguments.repeats):
        for processes, found in seconds.items():
            found.append(measure(arguments, processes))
    one, several = (statistics.median(found) for found in seconds.values())
    record = dict(
        config=arguments.config,
        options=arguments.cfg_options,
        commit=checkout_commit(),
        command=typed_command(sys.argv),
        cores=os.cpu_count(),
        iterations=arguments.iterations,
        processes=arguments.processes,
        seconds_one_process=seconds[1],
        seconds_several_processes=seconds[arguments.processes],
        throughput_ratio=one / several,
        ratio_of_each_pair=[
            alone / together for alone, together in zip(*seconds.values())
        ])
    print(json.dumps(record, indent=2))
    if arguments.json:
        path = Path(arguments.json)
        others = json.loads(path.read_text()) if path.is_file() else {}
        write_json(path, others | {Path(arguments.config).stem: record})


if __name__ == '__main__':
    run_tool(main)
