"""Methods by teachers: does a result depend on which teacher a method gets?

Each method has one setting, and all have the same number of student steps.
"""
import json
import math
import os
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.comparison import Run, complete, key_of
from tadfkd.algorithms.building import build_procedural
from tadfkd.apis.config import load_config
from tadfkd.checkpoints.reading import read_checkpoint
from tadfkd.checkpoints.resume_point import newest_intact
from tadfkd.errors import UserError, nearest
from tadfkd.evaluation.diversity import kappa
from tadfkd.networks.freezing import frozen
from tadfkd.registry import MODELS
from tadfkd.sweeps.strips import Style, draw_strips
from tadfkd.utils.files import write_json

#: Student steps of a run on the digits, of 128 images each.
STUDENT_STEPS = 750
_DIGITS = 'resnet18w16_to_resnet18w8_digits'
# Most digits configs have 500 student steps of 64 images.
_LONGER = {'model.batch_size': 128, 'train_cfg.max_epochs': 15}
#: By the name in the tables: a config, and what makes its steps equal.
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    'AgnosticDFKD': (f'configs/agnostic/{_DIGITS}.py', {}),
    'AgnosticDFKD, 2250 steps': (f'configs/agnostic/{_DIGITS}.py', {
        'train_cfg.max_epochs': 30
    }),
    'TA-DFKD': (f'configs/tadfkd/{_DIGITS}.py', {}),
    'TA-DFKD calibrated': (f'configs/tadfkd/{_DIGITS}_calibrated.py', {}),
    'basic': (f'configs/tadfkd/{_DIGITS}_basic.py', {}),
    'DAFL': (f'configs/dafl/{_DIGITS}.py', _LONGER),
    'DFAD': (f'configs/dfad/{_DIGITS}.py', _LONGER),
    'DFQ': (f'configs/dfq/{_DIGITS}.py', _LONGER),
    'CMI': (f'configs/cmi/{_DIGITS}.py', _LONGER),
    # Six iterations warm up without the student.
    'Fast-DFKD': (f'configs/fastdfkd/{_DIGITS}.py', {
        'model.batch_size': 128,
        'train_cfg.max_epochs': 14
    }),
    'NAYER': (f'configs/nayer/{_DIGITS}.py', _LONGER),
    'PRE-DFKD': (f'configs/predfkd/{_DIGITS}.py', _LONGER),
    'noise': (f'configs/randomnoisekd/{_DIGITS}.py', _LONGER),
    'procedural images':
    (f'configs/randomnoisekd/{_DIGITS}_procedural.py', _LONGER),
    'VanillaKD': (f'configs/vanillakd/{_DIGITS}.py', {
        'train_dataloader.batch_size': 128,
        'train_cfg.max_epochs': 75,
        'train_cfg.val_interval': 5
    })
}
_FASHION = 'resnet18w16_to_resnet18w8_fashion_mnist'
#: Those with a config of Fashion-MNIST. They have 2500 student steps there.
FASHION_METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    'AgnosticDFKD': (f'configs/agnostic/{_FASHION}.py', {}),
    'TA-DFKD': (f'configs/tadfkd/{_FASHION}.py', {})
}
#: Nine kinds of network.
KINDS = ('resnet18w16', 'vgg11bn', 'densenetw8', 'mobilenetv2w25', 'vgg11',
         'poolformerw32', 'vitw64', 'convnextw16', 'mixerw64')
#: Eight ways to train one of them.
RECIPES = ('no_augmentation', 'label_smoothing', 'mixup', 'stopped_early',
           'weight_decay', 'adam', 'small_batches', 'slow_norm')
#: Two kinds that no setting was chosen or looked at with.
UNSEEN = ('regnetw16', 'swinw32')
#: Kinds that learned Fashion-MNIST.
FASHION = ('resnet18w16', 'vgg11bn', 'mobilenetv2w25', 'vitw64', 'convnextw16')
#: The configs of teachers by group and name. Means are over one group.
GROUPS: dict[str, dict[str, str]] = {
    'nine kinds': {
        name: f'configs/teachers/{name}_digits.py'
        for name in KINDS
    },
    'eight recipes': {
        f'resnet18w16 {name}': f'configs/teachers/resnet18w16_digits_{name}.py'
        for name in RECIPES
    },
    'two unseen kinds': {
        name: f'configs/teachers/{name}_digits.py'
        for name in UNSEEN
    },
    'Fashion-MNIST': {
        f'{name} fashion_mnist': f'configs/teachers/{name}_fashion_mnist.py'
        for name in FASHION
    }
}
TEACHERS = {
    name: path
    for group in GROUPS.values()
    for name, path in group.items()
}
#: Percent of ten classes that a constant answer finds.
_CHANCE = 10.0
#: What is known of a run without data.
_MEASURES = ('kappa', 'kappa_others', 'worst_kappa', 'nuclear_norm',
             'agreement')
#: Seed of the images on which students are judged, and their number.
_JUDGED_SEED, _JUDGED_SIZE = 2022, 2048


def planned_runs(methods: Sequence[str], teachers: Sequence[str],
                 seeds: Sequence[int]) -> list[Run]:
    """The runs, all methods and teachers with one seed before the next.

    A method without a config for the data set of a teacher is left out.

    Args:
        methods: Names in :data:`METHODS`.
        teachers: Names in :data:`TEACHERS`.
        seeds: Of the runs.

    Raises:
        UserError: If a name is unknown.
    """
    for kind, names, known in (('method', methods, METHODS),
                               ('teacher', teachers, TEACHERS)):
        for name in names:
            if name not in known:
                raise UserError(f'there is no {kind} {name!r}: '
                                f'{nearest(name, known)}')
    return [
        Run(config, seed, options, TEACHERS[teacher], method) for seed in seeds
        for teacher in teachers for available in
        [FASHION_METHODS if teacher in GROUPS['Fashion-MNIST'] else METHODS]
        for method in methods if method in available
        for config, options in [available[method]]
    ]


def benchmark_teachers(methods: Sequence[str], teachers: Sequence[str],
                       seeds: Sequence[int], record: str | os.PathLike,
                       work_dir: str | os.PathLike,
                       jobs: int) -> list[dict[str, Any]]:
    """Make the runs that a record does not have yet.

    See :func:`planned_runs` and :func:`~benchmarks.comparison.complete`. A
    run that fails gets an entry with its error. The others are judged without
    data, by :func:`judge` and :func:`judge_by_others`.

    Returns:
        All entries of the record.
    """
    runs = planned_runs(methods, teachers, seeds)
    complete(runs, record, work_dir, jobs, then=judge, keep_failures=True)
    return judge_by_others(runs, record, work_dir)


@torch.no_grad()
def judge(run: Run, folder: Path) -> dict[str, Any]:
    """What can be said of a student without data.

    Args:
        run: A run that has finished.
        folder: Its files.

    Returns:
        ``judged``: ``kappa`` of student and teacher on dead leaves, which no
        method trains on, and the ``nuclear_norm`` of the student's
        probabilities there, as a share of the highest possible.
    """
    model = _trained(run, folder)
    leaves = build_procedural(
        dict(
            families=[dict(type='DeadLeaves')],
            size=_JUDGED_SIZE,
            num_candidates=4 * _JUDGED_SIZE), model.generator, model.teacher)
    assert leaves is not None
    stream = torch.Generator().manual_seed(_JUDGED_SEED)
    leaves.make(model.teacher, stream)
    images_BCHW = leaves.sample(_JUDGED_SIZE, stream)
    probabilities_BK = _student_logits(model, images_BCHW).softmax(1)
    if not probabilities_BK.isfinite().all():
        raise UserError('the student answers dead leaves with logits that are '
                        'not finite, so it cannot be judged')
    return dict(
        judged=dict(
            kappa=_kappa(model, images_BCHW),
            nuclear_norm=float(
                torch.linalg.matrix_norm(probabilities_BK, 'nuc')) /
            math.sqrt(len(images_BCHW) * model.num_classes)))


@torch.no_grad()
def judge_by_others(runs: Sequence[Run], record: str | os.PathLike,
                    work_dir: str | os.PathLike) -> list[dict[str, Any]]:
    """Judge each student on the images of the runs with other seeds.

    ``judged`` gets ``kappa_others``: Cohen's kappa of student and teacher on
    images that runs of the same method and teacher make, the worst of the
    other seeds. Runs without such others, or without their files, have none.

    Args:
        runs: All of them are in the record.
        record: JSON file, which is rewritten.
        work_dir: The runs' folders are below this one.

    Returns:
        All entries of the record.
    """
    entries = json.loads(Path(record).read_text())
    by_key = {key_of(entry): entry for entry in entries}
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        # The record may be from another machine, where the files are.
        has_files = Path(work_dir, run.folder).is_dir()
        if has_files and 'judged' in by_key[run.key]:
            groups.setdefault(run.key[:-1], []).append(run)
    for group in groups.values():
        if len(group) == 1 or all('kappa_others' in by_key[run.key]['judged']
                                  for run in group):
            continue
        models = [_trained(run, Path(work_dir, run.folder)) for run in group]
        images = [model.synthesize(_JUDGED_SIZE // 2) for model in models]
        for place, (run, model) in enumerate(zip(group, models)):
            by_key[run.key]['judged']['kappa_others'] = min(
                _kappa(model, images_BCHW)
                for other, images_BCHW in enumerate(images) if other != place)
    write_json(Path(record), entries)
    return entries


def _trained(run: Run, folder: Path) -> Any:
    """The model of a run that has finished, with its teacher."""
    config = load_config(run.config, run.options, teacher=run.teacher)
    model = MODELS.build(config.model)
    path, _ = newest_intact(folder)
    assert path is not None
    model.load_state_dict(read_checkpoint(path)['state_dict'])
    return model


def _student_logits(model: Any, images_BCHW: Tensor) -> Tensor:
    with frozen(model.student):
        return torch.cat(
            [model.student_logits(chunk) for chunk in images_BCHW.split(256)])


def _kappa(model: Any, images_BCHW: Tensor) -> float:
    """Cohen's kappa of student and teacher."""
    student_B = _student_logits(model, images_BCHW).argmax(1)
    teacher_B = torch.cat([
        model.teacher_logits(chunk) for chunk in images_BCHW.split(256)
    ]).argmax(1)
    return kappa(
        student_B.bincount(minlength=model.num_classes).tolist(),
        teacher_B.bincount(minlength=model.num_classes).tolist(),
        int((student_B == teacher_B).sum()))


def robustness_table(records: Iterable[dict[str, Any]]) -> str:
    """A Markdown table with one row per group of teachers and method, in a
    group the best worst teacher first.

    Args:
        records: Entries of the record.

    Returns:
        The table. A share is the student's accuracy at the last epoch by that
        of its teacher, in percent, as a mean over the seeds; a run that
        failed counts as chance would. The standard deviation is over
        teachers. The gap is the largest of all runs from the last epoch to
        the best one.
    """
    records = list(records)
    lines = [('teachers', 'method', 'measured', 'seeds', 'mean',
              'standard deviation', 'worst teacher', 'gap'), ['---'] * 8]
    found = shares_by_method(records)
    for group, members in GROUPS.items():
        rows = []
        for method, row in found.items():
            shares = {name: row[name] for name in members if name in row}
            if not shares:
                continue
            means = {name: statistics.fmean(of) for name, of in shares.items()}
            worst = min(means, key=means.__getitem__)
            seeds = sorted({len(of) for of in shares.values()})
            gap = max(
                _share(record, 'max') - _share(record) for record in records
                if record['setting'] == method
                and record['teacher'] in members.values())
            rows.append((means[worst], [
                group, method, f'{len(means)} of {len(members)}',
                ' or '.join(map(str, seeds)),
                f'{statistics.fmean(means.values()):.1f}',
                f'{statistics.pstdev(means.values()):.1f}',
                f'{means[worst]:.1f} ({worst})', f'{gap:.1f}'
            ]))
        rows.sort(key=lambda row: -row[0])
        lines += [row for _, row in rows]
    return '\n'.join(f'| {" | ".join(map(str, line))} |' for line in lines)


def shares_table(records: Iterable[dict[str, Any]]) -> str:
    """A Markdown table of teachers by methods: the mean share over the seeds
    in percent, and the worst seed where there are several.

    Args:
        records: Entries of the record.
    """
    found = shares_by_method(records)
    lines = [['teacher', *found], ['---'] * (1 + len(found))]
    for teacher in TEACHERS:
        cells = []
        for shares in (row.get(teacher, []) for row in found.values()):
            text = f'{statistics.fmean(shares):.1f}' if shares else '-'
            if len(shares) > 1:
                text += f' (worst {min(shares):.1f})'
            cells.append(text)
        if any(cell != '-' for cell in cells):
            lines.append([teacher, *cells])
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def shares_by_method(
        records: Iterable[dict[str,
                               Any]]) -> dict[str, dict[str, list[float]]]:
    """Percent of the teacher's accuracy by method, teacher and seed, in the
    order of :data:`METHODS` and :data:`TEACHERS`."""
    names = {path: name for name, path in TEACHERS.items()}
    found: dict[str, dict[str, list[float]]] = {
        method: {
            teacher: []
            for teacher in TEACHERS
        }
        for method in METHODS
    }
    for record in records:
        found[record['setting']][names[record['teacher']]].append(
            _share(record))
    kept = {
        method: {
            teacher: shares
            for teacher, shares in row.items() if shares
        }
        for method, row in found.items()
    }
    return {method: row for method, row in kept.items() if row}


def judging_table(records: Iterable[dict[str, Any]]) -> str:
    """A Markdown table: does a measure without data rank students as their
    accuracy does?

    Args:
        records: Entries of the record; failed runs are left out.

    Returns:
        Spearman's rank correlation of each measure with the student's share
        of its teacher's accuracy: over all runs, over those of one method as
        a mean over the methods, and over those of one teacher.
    """
    runs = [
        dict(
            record['judged'],
            worst_kappa=min(record['judged']['kappa'],
                            record['judged'].get('kappa_others', math.inf)),
            agreement=record['summary']['agreement_last'],
            method=record['setting'],
            teacher=record['teacher'],
            share=_share(record)) for record in records if 'summary' in record
    ]
    lines = [('measure', 'runs', 'all runs', 'within a method',
              'within a teacher'), ['---'] * 5]
    for measure in _MEASURES:
        known = [run for run in runs if measure in run]
        cells = [_correlation(known, measure)]
        for group in ('method', 'teacher'):
            parts: dict[str, list[dict]] = {}
            for run in known:
                parts.setdefault(run[group], []).append(run)
            found = [
                value for part in parts.values()
                if not math.isnan(value := _correlation(part, measure))
            ]
            cells.append(statistics.fmean(found) if found else math.nan)
        lines.append([
            measure.replace('_', ' '),
            str(len(known)),
            *('-' if math.isnan(cell) else f'{cell:.2f}' for cell in cells)
        ])
    return '\n'.join(f'| {" | ".join(map(str, line))} |' for line in lines)


def _correlation(runs: list[dict[str, Any]], measure: str) -> float:
    from scipy.stats import spearmanr

    # Fewer runs say nothing.
    if len({run[measure] for run in runs}) < 4:
        return math.nan
    return float(
        spearmanr([run[measure] for run in runs],
                  [run['share'] for run in runs]).statistic)


def _share(record: dict[str, Any], epoch: str = 'last') -> float:
    """Percent of the teacher's accuracy; chance for a run that failed."""
    summary = record.get('summary')
    if summary is None:
        return _CHANCE
    return 100 * summary[f'student_top1_{epoch}'] / summary['teacher_top1']


def draw_robustness(records: Iterable[dict[str, Any]],
                    path: str | os.PathLike) -> None:
    """Draw one strip per method, with a dot per teacher.

    Args:
        records: Entries of the record.
        path: The PNG file to write.
    """
    colours = {name: f'C{place}' for place, name in enumerate(KINDS)}

    def style(name: str) -> Style:
        """Each of the nine kinds has a colour, and each group a marker."""
        group, marker = next(
            (group, marker)
            for (group, members), marker in zip(GROUPS.items(), 'oxs^')
            if name in members)
        return (name if name in colours else group, marker,
                colours.get(name, '0.4'))

    draw_strips(
        {
            method: {
                name: statistics.fmean(of)
                for name, of in shares.items()
            }
            for method, shares in shares_by_method(records).items()
        }, path, "student's accuracy as a share of the teacher's, percent",
        style)
