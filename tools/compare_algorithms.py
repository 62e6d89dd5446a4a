"""Run several configs over several seeds, and record what comes of it.

A run that the record has already, of the same config and seed, is not run
again, so a comparison can be interrupted and gone on with.
"""
import argparse
import hashlib
import json
import multiprocessing
import os
import platform
import subprocess
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import torch
from mmengine.config import DictAction

from tadfkd.apis import distill, load_config
from tadfkd.evaluation.comparison import comparison_table, replace_table
from tadfkd.utils.errors import UserError, run_tool
from tadfkd.utils.files import write_atomically, write_json


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'configs', nargs='*', help='what to run; nothing only writes the page')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument(
        '--record',
        default='docs/measured/algorithms_digits.json',
        help='JSON file that runs are added to')
    parser.add_argument(
        '--page',
        help='Markdown file whose table is written anew from the record')
    parser.add_argument(
        '--work-dir', default='work_dirs/comparison', help='where runs write')
    parser.add_argument('--teacher-checkpoint', metavar='FILE')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='settings for all of the configs')
    parser.add_argument(
        '--jobs', type=int, default=1, help='runs at a time, one thread each')
    return parser.parse_args()


def fingerprint(config: str, options: dict | None) -> str:
    """What tells whether a config, with options, has changed."""
    return hashlib.sha256(load_config(
        config, options).pretty_text.encode()).hexdigest()[:16]


def run(config: str, seed: int, options: dict | None, work_dir: str,
        teacher_checkpoint: str | None) -> dict:
    """One distillation in this process."""
    torch.set_num_threads(1)
    path = Path(config)
    summary = distill(
        config,
        options=options,
        seed=seed,
        work_dir=str(
            Path(work_dir, f'{path.parent.name}_{path.stem}', f'seed_{seed}')),
        teacher_checkpoint=teacher_checkpoint)
    return dict(
        config=config,
        seed=seed,
        fingerprint=fingerprint(config, options),
        commit=commit(),
        command=' '.join([
            f'python tools/train.py {config} --seed {seed}',
            *(['--cfg-options'] if options else []),
            *(f'{key}={value}' for key, value in (options or {}).items())
        ]),
        machine=f'{os.cpu_count()} cores, {platform.machine()}',
        threads=torch.get_num_threads(),
        summary=summary)


def commit() -> str:
    """The commit of the checkout, and whether there are changes to it."""
    return subprocess.run(['git', 'describe', '--always', '--dirty'],
                          capture_output=True,
                          text=True).stdout.strip()


def main() -> None:
    """Run what is missing, and write the page."""
    arguments = parse_arguments()
    path = Path(arguments.record)
    records = json.loads(path.read_text()) if path.is_file() else []
    for config in arguments.configs:
        # Relative, as it stands in the record.
        if Path(config).is_absolute():
            raise UserError(f'config {config} must be relative to the '
                            'repository: name it as configs/...')
    known = {
        (record['config'], record['seed']): record['fingerprint']
        for record in records
    }
    wanted = [
        (config, seed) for seed in arguments.seeds
        for config in arguments.configs
        if known.get((config,
                      seed)) != fingerprint(config, arguments.cfg_options)
    ]
    print(f'{len(wanted)} runs to do', flush=True)
    with ProcessPoolExecutor(
            arguments.jobs,
            mp_context=multiprocessing.get_context('spawn')) as pool:
        futures = [
            pool.submit(run, config, seed, arguments.cfg_options,
                        arguments.work_dir, arguments.teacher_checkpoint)
            for config, seed in wanted
        ]
        for future in as_completed(futures):
            record = future.result()
            records = [
                old for old in records if (old['config'], old['seed']) !=
                (record['config'], record['seed'])
            ] + [record]
            records.sort(key=lambda entry: (entry['config'], entry['seed']))
            write_json(path, records)
            print(
                record['config'],
                record['seed'],
                record['summary']['student_top1_last'],
                flush=True)
    if arguments.page:
        page = Path(arguments.page)
        text = replace_table(page.read_text(), comparison_table(records))
        write_atomically(page, text.encode())


if __name__ == '__main__':
    run_tool(main)
