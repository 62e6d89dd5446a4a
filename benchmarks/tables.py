"""Write the tables of the pages.

A page has a table between ``<!-- table NAME -->`` and ``<!-- end of table
-->``. What it is made of is a record in ``docs/measured``,
``docs/methods.yml``, or the code itself.
"""
import json
import re
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from benchmarks.comparison import comparison_table
from benchmarks.components import HEAD, components
from benchmarks.health import health_table
from benchmarks.methods import methods_table, own_numbers_table
from benchmarks.start import start_table
from benchmarks.step_path import path_table
from benchmarks.teachers import (draw_robustness, judging_table,
                                 robustness_table, shares_table)
from benchmarks.time_to_accuracy import times_table
from tadfkd.utils.files import write_atomically

_TABLE = re.compile(r'(<!-- table (\w+) -->\n).*?(<!-- end of table -->)',
                    re.DOTALL)


def write_tables(root: Path) -> None:
    """Rewrite the tables of all pages, and draw the figure of one.

    Args:
        root: Folder of the repository.
    """
    strips = root / 'docs/images/robustness.png'
    record = root / 'docs' / _record('robustness')
    draw_robustness(json.loads(record.read_text()), strips)
    for page in pages(root):
        old = page.read_text()
        new = with_tables(old, root / 'docs')
        if new != old:
            write_atomically(page, new.encode())
            print(f'wrote {page.relative_to(root)}')


def pages(root: Path) -> list[Path]:
    """The Markdown files that may have tables."""
    return [
        root / 'README.md', root / 'CONTRIBUTING.md', *sorted(
            (root / 'docs').glob('*.md')), *sorted(
                (root / 'configs').glob('*/README.md'))
    ]


def with_tables(page: str, docs: Path) -> str:
    """The text of a page with its tables.

    Args:
        page: Markdown.
        docs: Folder of ``methods.yml`` and of the records, ``measured``.
    """

    def table(match: re.Match) -> str:
        begin, name, end = match.groups()
        source, make = TABLES[name]
        if source is None:
            data = None
        else:
            read = json.loads if source.endswith('.json') else yaml.safe_load
            data = read((docs / source).read_text())
        return f'{begin}\n{make(data).strip()}\n\n{end}'

    return _TABLE.sub(table, page)


def _table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    lines = [[str(cell) for cell in head]]
    lines.append(['---'] * len(lines[0]))
    lines += [[str(cell).replace('|', '\\|') for cell in row] for row in rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _step(record: dict[str, Any]) -> str:
    head = ('what', 'iteration s', 'framework / bare', 'framework / floor',
            'student step s', 'generator step s', 'teacher forward s',
            'student update s', 'rounds', 'GFLOP/s', 'peak MiB')
    rows = []
    for name, report in record.items():
        student, generator = (
            report['steps'][step] for step in ('student', 'generator'))
        rows.append([
            f'`{name}`', f'{report["framework_s"]:.2f}',
            f'{report["framework_over_bare"]:.3f}',
            f'{report["framework_over_floor"]:.3f}',
            f'{student["framework_s"]:.3f}', f'{generator["framework_s"]:.3f}',
            f'{student["passes"]["teacher forward"]["seconds"]:.3f}',
            f'{student["passes"]["student update"]["seconds"]:.3f}',
            f'{report["rounds"]:.2f}',
            f'{report["gflops"]:.0f} of {report["gflops_peak"]:.0f}',
            f'{report["peak_memory_mib"]:.0f}'
        ])
    return _table(head, rows)


def _fast_ratio(record: dict[str, Any]) -> str:
    return _table(
        ('config', 'variant', 'student step s', 'generator step s',
         'ten and one s', 'times plain', 'first steps s'),
        ([
            f'`{config}`', name, f'{row["student_s"]:.2f}',
            f'{row["generator_s"]:.2f}', f'{row["ten_and_one_s"]:.1f}',
            f'{row["times_plain"]:.2f}', f'{row["warmup_s"]:.0f}'
        ] for config, measured in record.items()
         for name, row in measured['variants'].items()))


def _fast_accuracy(record: list[dict[str, Any]]) -> str:
    """One row per setting: the last epoch of each seed, and the mean."""
    rows: dict[str, dict[int, float]] = {}
    for entry in record:
        rows.setdefault(
            f'{entry["summary"]["dataset"]}, {entry["setting"]}',
            {})[entry['seed']] = entry['summary']['student_top1_last']
    seeds = sorted({seed for row in rows.values() for seed in row})
    return _table(('setting', *(f'seed {seed}' for seed in seeds), 'mean'), ([
        setting, *(f'{row[seed]:.2f}' if seed in row else '-'
                   for seed in seeds), f'{statistics.fmean(row.values()):.2f}'
    ] for setting, row in sorted(rows.items(), reverse=True)))


def _scale(record: dict[str, Any]) -> str:
    return _table(('size', 'values', 'seconds', 'fitted line', 'within'), ([
        axis, ', '.join(map(str, row['sizes'])), ', '.join(
            f'{seconds:.3f}' for seconds in row['seconds']),
        f'{row["intercept"]:.3f} + {row["slope"]:.2g} x size',
        f'{100 * row["largest_residual"]:.1f} %'
    ] for axis, row in ((axis, record[axis])
                        for axis in ('batch_size', 'num_classes'))))


def _stability(record: dict[str, Any]) -> str:
    """Teachers by the stability of their answers, least stable first."""
    learned = ('SpectralFields', 'Blobs', 'Strokes')

    def mean(row: dict[str, float], what: str) -> str:
        values = [
            row[key] for key in (f'{name} {what}' for name in learned)
            if key in row
        ]
        return f'{statistics.fmean(values):.0f}' if values else '-'

    return _table(('teacher', 'real digits, views', 'dead leaves, stable',
                   'families learned from, stable', 'student agrees there'), ([
                       name, f'{row["real_views"]:.1f}',
                       f'{row["DeadLeaves stable"]:.0f}',
                       mean(row, 'stable'),
                       mean(row, 'student agrees')
                   ] for name, row in sorted(
                       record['teachers'].items(),
                       key=lambda item: item[1]['DeadLeaves stable'])))


def _tuning(record: list[dict[str, Any]]) -> str:
    """Settings by teachers: the student's share of the teacher, in percent."""
    shares: dict[str, dict[str, list[float]]] = {}
    for entry in record:
        summary = entry['summary']
        teacher = Path(entry['config']).stem.partition('_')[0]
        shares.setdefault(entry['setting'], {}).setdefault(teacher, []).append(
            100 * summary['student_top1_last'] / summary['teacher_top1'])
    teachers = sorted({name for row in shares.values() for name in row})
    rows = []
    for setting, row in shares.items():
        means = [statistics.fmean(row[name]) for name in row]
        # Means over different teachers cannot be compared.
        whole = len(row) == len(teachers)
        cells = [
            f'{statistics.fmean(row[name]):.1f}' if name in row else '-'
            for name in teachers
        ]
        seeds = max(map(len, row.values()))
        rows.append((statistics.fmean(means) if whole else 0.0, [
            setting, seeds, *cells,
            f'{statistics.fmean(means):.1f}' if whole else '-',
            f'{min(means):.1f}' if whole else '-'
        ]))
    rows.sort(key=lambda row: -row[0])
    return _table(('setting', 'seeds', *teachers, 'mean', 'worst teacher'),
                  (cells for _, cells in rows))


def _demo(record: dict[str, Any]) -> str:
    name = f'`{Path(record["config"]).name}`'
    head = ('config', 'seed', 'teacher', 'student, last epoch',
            'mean of last 10', 'best epoch (extra)', 'command')
    keys = ('teacher_top1', 'student_top1_last', 'student_top1_last_10_mean')
    rows = [[
        name, run['seed'], *(f'{run[key]:.2f}' for key in keys),
        f'{run["student_top1_max"]:.2f}', f'`{run["command"]}`'
    ] for run in record['runs']]
    shared = [run for run in record['runs'] if not run['teacher_seed']]
    means = [statistics.fmean(run[key] for run in shared) for key in keys]
    rows.append([
        name, 'mean of 0 to 4, one teacher',
        *(f'{mean:.2f}' for mean in means), '-', '-'
    ])
    return _table(head, rows)


def _fashion_mnist(record: dict[str, Any]) -> str:
    head = ('config', 'seed', 'teacher', 'student, last epoch',
            'mean of last 10', 'best epoch (extra)', 'command')
    keys = ('teacher_top1', 'student_top1_last', 'student_top1_last_k_mean',
            'student_top1_max')
    return _table(head, [[
        f'`{Path(run["config"]).name}`', run['seed'],
        *(f'{run[key]:.2f}' for key in keys), f'`{record["commands"][-1]}`'
    ] for run in record['runs']])


def _families(records: list[dict]) -> str:
    head = ('teacher', 'norm', 'parameters', 'setting', 'seed',
            'teacher top-1', 'student, last epoch', 'mean of last 10 (or all)',
            'best epoch (extra)', 'config')
    return _table(head, ([
        record['teacher'], record['norm'], record['parameters'],
        record['setting'], record['seed'],
        *(f'{record[key]:.2f}'
          for key in ('teacher_top1', 'student_last', 'student_mean_last_k',
                      'student_best')), f'`{Path(record["config"]).name}`'
    ] for record in sorted(records, key=lambda each: each['teacher'])))


def _zoo_steps(zoo: dict[str, Any]) -> str:
    head = ('backbone / head', 'model', 'input', 'order', 'parameters',
            'multiply-adds', 'BN', 'features', 'at the image',
            'of the generator', 'seconds', 'verdict')
    return _table(head, (_zoo_step(name, result) for name, result in sorted(
        zoo['run'].items(), key=lambda item: item[1]['family'])))


def _zoo_step(name: str, result: dict) -> list[object]:
    if result['error'] is not None:
        return [
            result['family'], name, *[''] * 8, f'{result["seconds"]:.0f}',
            result['error']
        ]
    facts = {key: value for key, (value, _) in result['facts'].items()}
    steps = result['steps']
    notes = [note for note in result['notes'] if 'are random' not in note]
    return [
        result['family'], name, ' x '.join(map(str, facts['input_size'])),
        facts['channel_order'], f'{result["num_parameters"] / 1e6:.1f}',
        f'{result["multiply_adds"] / 1e6:.0f}', result['num_bn_seen'],
        result['num_features'] or 'none', f'{result["image_gradient"]:.2g}',
        f'{steps["generator_gradient"]:.2g}' if steps else '',
        f'{result["seconds"]:.0f}',
        '; '.join([result['verdict'].removesuffix(' with notes'), *notes])
    ]


def _zoo_names(zoo: dict[str, Any]) -> str:
    results = zoo['configs']
    failed = {
        name: result['error']
        for name, result in results.items() if result['error'] is not None
    } | zoo['unreadable']
    total = len(results) + len(zoo['unreadable'])
    versions = ', '.join(f'{name} {version}'
                         for name, version in zoo['versions'].items())
    return (f'{total - len(failed)} of {total} names work ({versions}). The '
            'others fail with these errors:\n\n') + _table(
                ('name', 'error'), sorted(failed.items()))


def _methods(methods: dict[str, Any]) -> str:
    return _table(*methods_table(methods))


def _own_numbers(methods: dict[str, Any]) -> str:
    return _table(*own_numbers_table(methods))


def _components(_: None) -> str:
    return '\n\n'.join(f'## {room}\n\n{_table(HEAD, rows)}'
                       for room, rows in components().items())


def _record(folder: str) -> str:
    return f'measured/{folder}/record.json'


#: By the name in the page: the file in ``docs``, if there is one, and the
#: function that makes Markdown of what it holds.
TABLES: dict[str, tuple[str | None, Callable[[Any], str]]] = dict(
    agnostic_tuning=(_record('agnostic_tuning'), _tuning),
    algorithms_digits=(_record('algorithms_digits'), comparison_table),
    components=(None, _components),
    fast_accuracy=(_record('fast'), _fast_accuracy),
    fast_ratio=('measured/fast/ratio.json', _fast_ratio),
    health=(_record('health'), health_table),
    methods=('methods.yml', _methods),
    methods_own_numbers=('methods.yml', _own_numbers),
    judging=(_record('robustness'), judging_table),
    robustness=(_record('robustness'), robustness_table),
    robustness_teachers=(_record('robustness'), shares_table),
    scale=(_record('scale'), _scale),
    start=(_record('start'), start_table),
    stability=(_record('stability'), _stability),
    step=(_record('step'), _step),
    step_path=(_record('step_path'), path_table),
    tadfkd_digits=(_record('tadfkd_digits'), _demo),
    tadfkd_fashion_mnist=(_record('tadfkd_fashion_mnist'), _fashion_mnist),
    teacher_families=(_record('teacher_families_digits'), _families),
    time_to_accuracy=(_record('time_to_accuracy'), times_table),
    zoo_names=(_record('teacher_zoo'), _zoo_names),
    zoo_steps=(_record('teacher_zoo'), _zoo_steps))
