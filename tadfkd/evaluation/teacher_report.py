"""A report on a teacher before a run, and its page of text."""
from dataclasses import asdict, dataclass, field

from tadfkd.classifiers.facts import Facts
from tadfkd.errors import printable


@dataclass(frozen=True)
class Answers:
    """The teacher's logits for a batch of images, in figures.

    Attributes:
        spread: Standard deviation of a logit over the images, mean over the
            classes.
        confidence: Largest probability of an image, mean over the images, in
            [0, 1].
        num_predicted: Number of classes that are predicted for any image.
        kept: Percent of the images that the selector keeps.
    """

    spread: float
    confidence: float
    num_predicted: int
    kept: float


@dataclass(frozen=True)
class Steps:
    """Time and gradient of training steps with the teacher.

    Attributes:
        iteration_seconds: Median time of one student step and one generator
            step.
        generator_gradient: Mean L2 norm of the generator's gradient; NaN if
            a step was not finite.
        batch_size: Images per step.
    """

    iteration_seconds: float
    generator_gradient: float
    batch_size: int


@dataclass
class TeacherReport:
    """A report on a teacher before a run.

    Attributes:
        facts: Value and source of each fact, by name.
        num_parameters: Number of the teacher's parameters.
        num_student_parameters: Number of the student's parameters.
        multiply_adds: Multiply-adds of a forward pass per image, half of the
            FLOPs.
        num_bn_layers: Number of normalisation layers with running statistics.
        num_bn_seen: Number of statistics that a forward pass gave.
        num_features: Number of penultimate features, None without access.
        image_gradient: L2 norm of the gradient of the largest logit minus
            the mean logit, with respect to the image in [0, 1]; mean over
            images.
        noise: The answers to uniform noise.
        generated: The answers to images of the generator.
        first_bn_width: For smooth images, the deviation at the first batch
            norm over the one in training, median over channels. With right
            mean and std it is near 1, and in wrong units far from 1. None
            without batch norm or with random weights.
        top1: Accuracy on the evaluation data in percent, or None.
        steps: Figures of training steps, or None.
        problems: Reasons why the teacher cannot be used.
        notes: Further remarks for the user.
    """

    facts: Facts
    num_parameters: int
    num_student_parameters: int
    multiply_adds: int
    num_bn_layers: int
    num_bn_seen: int
    num_features: int | None
    image_gradient: float
    noise: Answers
    generated: Answers
    first_bn_width: float | None = None
    top1: float | None = None
    steps: Steps | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """``'OK'``, ``'OK with notes'``, or ``'unusable: '`` with reasons."""
        if self.problems:
            return f'unusable: {"; ".join(self.problems)}'
        return 'OK with notes' if self.notes else 'OK'

    def as_dict(self) -> dict:
        """The report and its verdict, as values for JSON."""
        return dict(verdict=self.verdict, **asdict(self))

    def judge_accuracy(self, top1: float, min_top1: float | None) -> None:
        """Record the accuracy, and add a problem if it is too low.

        Args:
            top1: Accuracy in percent.
            min_top1: Required accuracy in percent. None requires twice the
                chance level, or the mean of chance and 100 if that is lower.
        """
        self.top1 = top1
        chance = 100 / self.facts['num_classes'][0]
        wanted = min(2 * chance, (100 + chance) / 2) \
            if min_top1 is None else min_top1
        if top1 < wanted:
            self.problems.append(
                f'top-1 is {top1:.2f} %, {wanted:.2f} % or more are needed '
                '(a wrong checkpoint, normalisation or channel order? '
                'otherwise lower min_top1)')


def teacher_rows(report: TeacherReport) -> list[tuple[str, str, str]]:
    """Name, value and source of each fact and of each measurement, as text."""
    rows = [(name, _shown(value), source)
            for name, (value, source) in sorted(report.facts.items())]
    features = 'none' if report.num_features is None else str(
        report.num_features)
    rows += [
        ('parameters', f'{report.num_parameters / 1e6:.2f} M',
         f'student {report.num_student_parameters / 1e6:.2f} M'),
        ('multiply-adds', f'{report.multiply_adds / 1e6:.1f} M per image',
         'half of the FLOPs'),
        ('batch-norm layers', f'{report.num_bn_layers}, '
         f'{report.num_bn_seen} statistics in a forward', ''),
        ('first batch norm', '-' if report.first_bn_width is None else
         f'{report.first_bn_width:.3g} times as wide as in training',
         'for smooth images'),
        ('penultimate features', features, ''),
        ('gradient at the image', f'{report.image_gradient:.3g}',
         'norm, largest logit minus the mean'),
        ('noise', _answers(report.noise), ''),
        ('generated images', _answers(report.generated), ''),
        ('top-1', 'no evaluation data'
         if report.top1 is None else f'{report.top1:.2f} %', ''),
    ]
    steps = report.steps
    if steps is not None:
        rows += [
            ('iteration', f'{steps.iteration_seconds:.3g} s',
             f'one student and one generator step, batch of '
             f'{steps.batch_size}, on this machine'),
            ('generator gradient', f'{steps.generator_gradient:.3g}',
             'mean norm'),
        ]
    return rows


def teacher_page(report: TeacherReport) -> str:
    """The report as text, with one line per fact and the verdict at last."""
    rows = teacher_rows(report)
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [
        printable(
            f'{name:{widths[0]}}  {value:{widths[1]}}  {source}'.rstrip())
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
