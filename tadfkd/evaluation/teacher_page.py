"""A report on a teacher as a page of text."""
from tadfkd.evaluation.teacher_report import Answers, TeacherReport


def teacher_page(report: TeacherReport) -> str:
    """What was found out and from where, figures, notes, and the verdict."""
    rows = [(name, _shown(value), source)
            for name, (value, source) in sorted(report.facts.items())]
    features = 'none' if report.num_features is None else str(
        report.num_features)
    rows += [
        ('parameters', f'{report.num_parameters / 1e6:.2f} M',
         f'student {report.num_student_parameters / 1e6:.2f} M'),
        ('multiply-adds', f'{report.multiply_adds / 1e6:.1f} M an image',
         'half of the FLOPs'),
        ('batch-norm layers', f'{report.num_bn_layers}, '
         f'{report.num_bn_seen} statistics in a forward', ''),
        ('penultimate features', features, ''),
        ('gradient at the image', f'{report.image_gradient:.3g}',
         'norm, largest logit less the mean'),
        ('noise', _answers(report.noise), ''),
        ('generated images', _answers(report.generated), ''),
        ('top-1', 'no evaluation data'
         if report.top1 is None else f'{report.top1:.2f} %', ''),
    ]
    steps = report.steps
    if steps is not None:
        rows += [
            ('student step', f'{steps.student_seconds:.3g} s',
             f'batch of {steps.batch_size}, on this machine'),
            ('generator step', f'{steps.generator_seconds:.3g} s',
             f'gradient {steps.generator_gradient:.3g}'),
        ]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [
        f'{name:{widths[0]}}  {value:{widths[1]}}  {source}'.rstrip()
        for name, value, source in rows
    ]
    return '\n'.join(
        [*lines, *(f'note: {note}' for note in report.notes), report.verdict])


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ', '.join(f'{number:g}' for number in value)
    if isinstance(value, tuple):
        return ' x '.join(map(str, value))
    return str(value)


def _answers(answers: Answers) -> str:
    return (f'logits spread {answers.spread:.3g}, confidence '
            f'{answers.confidence:.2f}, {answers.num_predicted} classes, '
            f'{answers.kept:.0f} % kept')
