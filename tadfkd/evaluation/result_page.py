"""The result of a run as a page of text."""
from pathlib import Path
from typing import Any


def result_page(summary: dict[str, Any], work_dir: Path) -> str:
    """What a run has reached, where its pictures are, and what comes next.

    Args:
        summary: The content of ``summary.json``.
        work_dir: The work directory of the run.

    Returns:
        Top-1 accuracies in percent; without evaluation data, the agreement of
        student and teacher on generated images, in percent.
    """
    rows = [
        ('teacher, real test data', summary['teacher_top1']),
        ('student, no data: last epoch', summary['student_top1_last']),
        (f'student, mean of last {summary["last_k"]} epochs',
         summary['student_top1_last_k_mean']),
        ('student, best epoch (extra)', summary['student_top1_max']),
        ('agreement, generated images', summary['agreement_last']),
    ]
    config = summary['config'] or summary['algorithm']
    return '\n'.join([
        f'{summary["algorithm"]}, {Path(config).stem}:',
        *(f'  {name:<36}{value:6.2f}'
          for name, value in rows if value is not None),
        f'  {summary["student_steps"]} student steps in '
        f'{summary["wall_seconds"]:.0f} s; see {work_dir}/report.html, '
        'samples.png and summary.json',
        f'  to ship the student: tadfkd export {work_dir} --format onnx',
    ])
