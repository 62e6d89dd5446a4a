"""Run deliberately broken distillations and healthy ones under the HealthHook.

Each is a digits config, shortened, with ``action='stop'`` and the default
thresholds; the broken ones should be ended, and the others left alone. All
that the hook saw goes into the record.
"""
import argparse
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.health_cases import CASES, Case
from tadfkd.apis import load_config, train
from tadfkd.apis.command_line import add_cfg_options, checkout_commit, run_tool
from tadfkd.apis.comparison import rewrite_table
from tadfkd.errors import UnhealthyRun
from tadfkd.utils.files import write_json

LEAF = 'configs/{}/resnet18w16_to_resnet18w8_digits.py'
MEASURES = ('selection_rate', 'class_entropy', 'image_diversity',
            'feature_diversity', 'kappa')


def run_case(case: Case,
             work_dir: Path,
             teacher_checkpoint: str | None = None,
             options: dict[str, Any] | None = None,
             steps: int = 10) -> dict[str, Any]:
    """Run, and tell what the hook said.

    Args:
        case: The run.
        work_dir: Where it writes.
        teacher_checkpoint: In place of the config's.
        options: Dotted keys for all.
        steps: Iterations an epoch, if the config has more.
    """
    torch.set_num_threads(1)
    config = load_config(
        LEAF.format(case.algorithm),
        options={'default_hooks.health.action': 'stop'} | (options or {})
        | case.options,
        seed=case.seed,
        work_dir=str(work_dir),
        teacher_checkpoint=teacher_checkpoint)
    # A broken teacher is not to be found at the start, as it would be.
    for name in ('teacher_sanity', 'samples'):
        del config.default_hooks[name]
    dataset = config.train_dataloader.dataset
    dataset.num_steps = min(steps, dataset.num_steps)
    if case.hook is not None:
        config.custom_hooks = [case.hook]
    message = None
    try:
        train(config)
    except UnhealthyRun as error:
        message = str(error)
    history = json.loads((work_dir / 'history.json').read_text())
    epochs = history['epochs']
    return dict(
        name=case.name,
        algorithm=config.model.type,
        config=LEAF.format(case.algorithm),
        seed=case.seed,
        changes=json.loads(json.dumps(case.options)),
        hook=case.hook and str(case.hook),
        ended=message is not None,
        message=message and message.replace(f'{work_dir}/', ''),
        problems=epochs[-1].get('findings', []) if epochs else [],
        epochs=len(epochs),
        iterations_an_epoch=dataset.num_steps,
        student_top1=epochs[-1]['student_top1'] if epochs else None,
        # Of the epochs that are judged.
        least={
            name:
            min((entry[name]
                 for entry in epochs[2:] if entry[name] is not None),
                default=None)
            for name in MEASURES
        })


def table(record: dict[str, Any]) -> str:
    """The record as Markdown."""
    lines = [
        '| run | config | seed | iterations an epoch | ended | measures |',
        '| --- | --- | --- | --- | --- | --- |'
    ]
    for kind in CASES:
        for entry in record[kind]:
            seen = '; '.join(entry['problems']) or entry['message'] or (
                'least ' + ', '.join(f'{name} {value:.3g}'
                                     for name, value in entry['least'].items()
                                     if value is not None))
            ended = f'epoch {entry["epochs"]}' if entry['ended'] else 'no'
            folder = entry['config'].split('/')[1]
            lines.append(f'| {entry["name"]} ({kind}) | `{folder}` | '
                         f'{entry["seed"]} | {entry["iterations_an_epoch"]} | '
                         f'{ended} | {seen} |')
    return '\n'.join(lines)


def main() -> None:
    """Run all cases, and write the record and the page."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--record', default='docs/measured/health_digits.json')
    parser.add_argument('--page', help='Markdown file with the table')
    parser.add_argument('--work-dir', default='work_dirs/health')
    parser.add_argument('--teacher-checkpoint', metavar='FILE')
    parser.add_argument('--epochs', type=int, default=4)
    parser.add_argument(
        '--steps',
        type=int,
        default=10,
        help='iterations an epoch, of configs that have more')
    parser.add_argument(
        '--kinds',
        nargs='*',
        choices=CASES,
        default=[*CASES],
        help='others stay in the record as they are')
    parser.add_argument('--jobs', type=int, default=1)
    add_cfg_options(parser, 'settings for all runs')
    arguments = parser.parse_args()
    path = Path(arguments.record)
    record = json.loads(path.read_text()) if path.is_file() else {}
    record |= dict(
        commit=checkout_commit(),
        command='python -m benchmarks.health_runs --epochs '
        f'{arguments.epochs} --steps {arguments.steps}')
    run = partial(
        run_case,
        teacher_checkpoint=arguments.teacher_checkpoint,
        steps=arguments.steps,
        options={'train_cfg.max_epochs': arguments.epochs}
        | (arguments.cfg_options or {}))
    with ProcessPoolExecutor(
            arguments.jobs,
            mp_context=multiprocessing.get_context('spawn')) as pool:
        for kind in arguments.kinds:
            folders = [
                Path(arguments.work_dir, kind, str(number))
                for number in range(len(CASES[kind]))
            ]
            record[kind] = []
            for entry in pool.map(run, CASES[kind], folders):
                record[kind].append(entry)
                print(
                    kind,
                    entry['name'],
                    entry['ended'],
                    entry['problems'],
                    flush=True)
    write_json(path, record)
    if arguments.page:
        rewrite_table(arguments.page, table(record))


if __name__ == '__main__':
    run_tool(main)
