"""Run broken and healthy distillations and record what HealthHook says.

Each run is a shortened digits config with ``action='stop'`` and the default
thresholds. The hook should stop each broken run and no healthy run.
"""
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.health_cases import CASES, Case
from benchmarks.records import write_record
from tadfkd.apis import load_config, train
from tadfkd.errors import UnhealthyRun

LEAF = 'configs/{}/resnet18w16_to_resnet18w8_digits.py'
MEASURES = ('selection_rate', 'class_entropy', 'image_diversity',
            'feature_diversity', 'kappa')


def run_cases(work_dir: str, record: str | None,
              teacher_checkpoint: str | None, options: dict[str, Any] | None,
              epochs: int, steps: int, jobs: int) -> None:
    """Run all cases, print a table and write the record.

    Args:
        work_dir: Folder of the runs.
        record: JSON file, or None.
        teacher_checkpoint: File to use instead of the config's.
        options: Dotted keys and values for all runs.
        epochs: Epochs of each run, >= 1.
        steps: Iterations per epoch; a config with fewer keeps its own.
        jobs: Runs at the same time, >= 1.
    """
    run = partial(
        run_case,
        teacher_checkpoint=teacher_checkpoint,
        steps=steps,
        options={'train_cfg.max_epochs': epochs} | (options or {}))
    results: dict[str, Any] = {}
    with ProcessPoolExecutor(
            jobs, mp_context=multiprocessing.get_context('spawn')) as pool:
        for kind, cases in CASES.items():
            folders = [
                Path(work_dir, kind, str(number))
                for number in range(len(cases))
            ]
            results[kind] = [*pool.map(run, cases, folders)]
    print(health_table(results))
    if record is not None:
        write_record(record, results)


def run_case(case: Case,
             work_dir: Path,
             teacher_checkpoint: str | None = None,
             options: dict[str, Any] | None = None,
             steps: int = 10) -> dict[str, Any]:
    """Make one run.

    Args:
        case: What to run.
        work_dir: Folder of the run.
        teacher_checkpoint: File to use instead of the config's.
        options: Dotted keys and values.
        steps: Iterations per epoch; a config with fewer keeps its own.

    Returns:
        The case, whether and why the run was stopped, and the least value of
        each measure over the judged epochs.
    """
    torch.set_num_threads(1)
    config = load_config(
        LEAF.format(case.algorithm),
        options={'default_hooks.health.action': 'stop'} | (options or {})
        | case.options,
        seed=case.seed,
        work_dir=str(work_dir),
        teacher_checkpoint=teacher_checkpoint)
    # TeacherSanityHook would refuse a broken teacher before the first step.
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
        # HealthHook judges these measures from the third epoch on.
        least={
            name:
            min((entry[name]
                 for entry in epochs[2:] if entry[name] is not None),
                default=None)
            for name in MEASURES
        })


def health_table(record: dict[str, Any]) -> str:
    """The record as Markdown, one row per run."""
    lines = [
        '| run | config | seed | iterations per epoch | stopped | measures |',
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
