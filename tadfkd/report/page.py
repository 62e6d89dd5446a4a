"""One page about a run, from the files in its work directory."""
import base64
import json
import os
import shlex
from pathlib import Path
from typing import Any

from tadfkd.errors import UserError
from tadfkd.report.panels import draw_panels
from tadfkd.utils.files import write_atomically

#: With more classes, the confusion is a list and not a matrix.
MAX_MATRIX = 20
#: Rows of that list.
MAX_PAIRS = 20


def verdict(summary: dict[str, Any]) -> str:
    """One sentence on how a run has ended.

    Args:
        summary: The content of ``summary.json``.
    """
    bad = summary['unhealthy_epochs']
    if bad:
        epochs = f'epoch {bad[0]}' if len(bad) == 1 else \
            f'{len(bad)} epochs, at last in epoch {bad[-1]}'
        reasons = '; '.join(summary.get('findings', [])) or 'see the log'
        return f'The run was unhealthy in {epochs}: {reasons}.'
    if not summary['finished']:
        return 'The run has not finished.'
    if None not in (summary['teacher_top1'], summary['student_top1_last']):
        return (f'The student reaches {summary["student_top1_last"]:.2f} '
                f'%, and its teacher {summary["teacher_top1"]:.2f} %.')
    if summary['agreement_last'] is None:
        return 'The run has finished.'
    return ('The student agrees with its teacher on '
            f'{summary["agreement_last"]:.1f} % of generated images.')


def write_report(work_dir: str | os.PathLike) -> Path:
    """Write ``report.html`` into the work directory of a run.

    The page needs no other file and no network. Files that are missing, such
    as ``samples.png``, leave out their section.

    Args:
        work_dir: With ``summary.json`` and ``history.json``.

    Returns:
        The file.

    Raises:
        UserError: If the folder has no summary, or a file cannot be read.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    environment = Environment(
        loader=PackageLoader('tadfkd.report', '.'),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined)
    work_dir = Path(work_dir)
    page = environment.get_template('report.html.jinja').render(
        _content(work_dir))
    path = work_dir / 'report.html'
    write_atomically(path, page.encode())
    return path


def _content(work_dir: Path) -> dict[str, Any]:
    """The variables of the template."""
    summary = _read(work_dir / 'summary.json')
    history = _read(work_dir / 'history.json')
    if summary is None or history is None:
        raise UserError(f'{work_dir} has no summary.json and history.json: '
                        'name the work directory of a distillation, after its '
                        'first epoch')
    known = _read(work_dir / 'report.json') or {}
    student = _read(work_dir / 'student' / 'config.json') or {}
    newest = history['epochs'][-1] if history['epochs'] else {}
    histogram = newest.get('class_histogram') or []
    num_classes = summary['num_classes']
    names = known.get('class_names') or [*map(str, range(num_classes))]
    config = summary['config'] or summary['algorithm']
    return dict(
        summary=summary,
        newest=newest,
        title=f'{summary["algorithm"]}, {Path(config).stem}',
        work_dir=str(work_dir),
        verdict=verdict(summary),
        state='bad' if summary['unhealthy_epochs'] else
        'good' if summary['finished'] else 'open',
        figures=_figures(summary, newest),
        missing=[
            name for name, count in zip(names, histogram)
            if count == 0 and sum(histogram) > 0
        ],
        by_chance=round(num_classes * (1 - 1 / num_classes)**sum(histogram)),
        histogram=[
            dict(name=name, count=count, share=count / max(1, *histogram))
            for name, count in zip(names, histogram)
        ],
        confusion=_confusion(known.get('confusion') or [], names),
        names=names,
        panels=draw_panels(history,
                           known.get('thresholds') or {}),
        findings=[(entry['epoch'], entry['findings'])
                  for entry in history['epochs'] if entry.get('findings')],
        samples=_data_url(work_dir / 'samples.png'),
        teacher=known.get('teacher'),
        settings=known.get('settings'),
        parity=student.get('parity', {}),
        commands=_commands(work_dir, known.get('has_objects', False)))


def _figures(summary: dict, newest: dict) -> list[dict[str, Any]]:
    """The numbers at the top: name, key, value, and how it is shown."""
    rows = [
        ('teacher, real images', 'teacher_top1', '{:.2f} %'),
        ('student, last epoch', 'student_top1_last', '{:.2f} %'),
        (f'mean of last {summary["last_k"]} epochs',
         'student_top1_last_k_mean', '{:.2f} %'),
        ('best epoch (extra)', 'student_top1_max', '{:.2f} %'),
        ('agreement, generated images', 'agreement_last', '{:.1f} %'),
        ('student steps', 'student_steps', '{}'),
        ('generator steps', 'generator_steps', '{}'),
        ('images generated', 'images_generated', '{}'),
        ('images selected', 'images_selected', '{}'),
        ('skipped steps', 'skipped_steps', '{}'),
        ('seconds', 'wall_seconds', '{:.0f}'),
    ]
    return [
        dict(
            name=name,
            key=key,
            value=json.dumps(summary[key]),
            text=form.format(summary[key])) for name, key, form in rows
        if summary[key] is not None
    ]


def _confusion(cells: list, names: list[str]) -> dict[str, Any] | None:
    """A matrix, or the most frequent pairs if there are many classes."""
    if not cells:
        return None
    total = sum(count for *_, count in cells)
    pairs = sorted(
        ((count, teacher, student)
         for teacher, student, count in cells if teacher != student),
        key=lambda cell: (-cell[0], *cell[1:]))
    if len(names) > MAX_MATRIX:
        return dict(
            total=total,
            rows=None,
            pairs=[(names[teacher], names[student], count)
                   for count, teacher, student in pairs[:MAX_PAIRS]],
            left_out=max(0,
                         len(pairs) - MAX_PAIRS))
    counts = {(teacher, student): count for teacher, student, count in cells}
    rows = []
    for teacher, name in enumerate(names):
        row = [
            counts.get((teacher, student), 0) for student in range(len(names))
        ]
        rows.append((name, [(count, count / max(1, sum(row)))
                            for count in row], sum(row)))
    return dict(total=total, rows=rows)


def _commands(work_dir: Path, has_objects: bool) -> list[tuple[str, str]]:
    """What to do with a command, and the command."""
    configs = sorted(
        work_dir.glob('*.py'), key=lambda path: path.stat().st_mtime)
    if not configs:
        return []
    config, folder = str(configs[-1]), str(work_dir)
    commands = [
        ('Resume the run', ['train', config, '--work-dir', folder,
                            '--resume']),
        ('Export the student', ['export', folder, '--format', 'onnx']),
        ('Repeat the run elsewhere',
         ['train', config, '--work-dir', f'{folder}_again']),
        ('Write this page again', ['report', folder]),
    ]
    # Objects of another process are not in the config.
    return [(name, shlex.join(['tadfkd', *words]))
            for name, words in (commands[-1:] if has_objects else commands)]


def _data_url(path: Path) -> str | None:
    if not path.is_file():
        return None
    return 'data:image/png;base64,' + base64.b64encode(
        path.read_bytes()).decode()


def _read(path: Path) -> Any:
    """The content of a JSON file, or None without the file."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text('utf-8'))
    except ValueError as error:
        raise UserError(f'{path} is not JSON: restore the file, or run the '
                        'distillation again') from error
