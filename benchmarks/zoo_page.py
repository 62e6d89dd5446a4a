"""docs/teachers.md, from the records of what was measured."""
import json
from collections.abc import Iterable
from pathlib import Path

from tadfkd.utils.files import write_atomically

_HEAD = """# Teachers

Written by `python tools/check_teacher.py --zoo` from the records in
`docs/measured/`; changes belong there.
"""

_DISTILLED = """## Distilled from start to end

Each teacher was trained on scikit-learn's digits (16 x 16) by its config in
`configs/teachers/`, and a student without data by `configs/tadfkd/`. Top-1 in
percent on the 599 test images; the student's is that of its last epoch. What
failed is here too. "pixels" is our own setting for teachers without batch
norm, where the paper's image terms pull all images to one grey: the mean and
variance of the pixels are held at those that the teacher normalises by.
"""

_RUN = """## mmpretrain's zoo: one iteration each

The smallest classifier of each pair of backbone and head, with random weights
and the batch-norm statistics of noise and generated images: a generator step
and a student step of TA-DFKD on 2 images, at the teacher's own input size. The
gradients are norms: of the teacher's largest logit less the mean one at the
image, and of all losses at the generator. Parameters and multiply-adds (of one
image) in millions; BN is the number of layers with running statistics,
features those before the classification.
"""

_CONFIGS = """## mmpretrain's zoo: every name

"""


def write_teachers_page(docs: Path) -> None:
    """Write ``teachers.md`` from ``measured/teacher_*.json``.

    Args:
        docs: The folder of the documentation.
    """
    measured = docs / 'measured'
    zoo = json.loads((measured / 'teacher_zoo.json').read_text())
    sections = [_HEAD]
    families = measured / 'teacher_families_digits.json'
    if families.is_file():
        sections += [_DISTILLED, _distilled(json.loads(families.read_text()))]
    versions = ', '.join(f'{name} {version}'
                         for name, version in zoo['versions'].items())
    sections += [_RUN, _run(zoo['run']), f'With {versions}.\n']
    if zoo['configs']:
        sections += [_CONFIGS + _every_name(zoo)]
    write_atomically(docs / 'teachers.md', '\n'.join(sections).encode())


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [[*head]]
    lines.append(['---'] * len(lines[0]))
    lines += [[str(cell).replace('|', '\\|') for cell in row] for row in rows]
    return ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def _distilled(records: list[dict]) -> str:
    head = ('teacher', 'norm', 'parameters', 'setting', 'seed',
            'teacher top-1', 'student top-1', 'config or command')
    return _table(
        head,
        ((record['teacher'], record['norm'], record['parameters'],
          record['setting'], record['seed'], f'{record["teacher_top1"]:.2f}',
          f'{record["student_last"]:.2f}', _command(record))
         for record in sorted(records, key=lambda record: record['teacher'])))


def _command(record: dict) -> str:
    if record['command'] is None:
        return f'`{record["config"]}` with {record["changes"]}'
    return f'`{record["command"]}`'


def _run(results: dict[str, dict]) -> str:
    head = ('backbone / head', 'model', 'input', 'order', 'parameters',
            'multiply-adds', 'BN', 'features', 'at the image',
            'of the generator', 'seconds', 'verdict')
    return _table(head, (_row(name, result) for name, result in sorted(
        results.items(), key=lambda item: item[1]['family'])))


def _row(name: str, result: dict) -> list[object]:
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


def _every_name(zoo: dict) -> str:
    results = zoo['configs']
    failed = {
        name: result['error']
        for name, result in results.items() if result['error'] is not None
    } | zoo['unreadable']
    accepted = len(results) + len(zoo['unreadable']) - len(failed)
    text = (f'{accepted} of {len(results) + len(zoo["unreadable"])} names are '
            'accepted: the teacher is built, and its size, normalisation '
            'and channel order are found out.\n')
    if failed:
        text += '\nThe others, with the error:\n\n' + _table(
            ('name', 'error'), sorted(failed.items()))
    return text
