"""What is known of a teacher before a run."""
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Answers:
    """What the teacher and the selector make of some images.

    Attributes:
        spread: Standard deviation of a class's logit over the images, mean
            over the classes.
        confidence: Mean probability of the most likely class, in [0, 1].
        num_predicted: Number of classes that are the most likely for any.
        kept: Share of the images that the selector keeps, percent.
    """

    spread: float
    confidence: float
    num_predicted: int
    kept: float


@dataclass(frozen=True)
class Steps:
    """What it is like to train with the teacher.

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
    """What is known of a teacher before a run.

    Attributes:
        facts: By name: the value, and where it was found.
        num_parameters: Of the network.
        num_student_parameters: Of the student.
        multiply_adds: Of a forward of one image; half the FLOPs.
        num_bn_layers: Normalisation layers with running statistics.
        num_bn_seen: Those of them that gave statistics in a forward.
        num_features: Penultimate features, None if they cannot be had.
        image_gradient: Mean over images of the norm of the gradient, with
            respect to the image in [0, 1], of the largest logit less the
            mean logit.
        noise: On uniform noise.
        generated: On images of the generator as it is.
        top1: Accuracy on the evaluation data in percent, if there are some.
        steps: If steps were tried.
        problems: Why the teacher cannot be used; empty if it can.
        notes: What the user should know.
    """

    facts: dict[str, tuple[object, str]]
    num_parameters: int
    num_student_parameters: int
    multiply_adds: int
    num_bn_layers: int
    num_bn_seen: int
    num_features: int | None
    image_gradient: float
    noise: Answers
    generated: Answers
    top1: float | None = None
    steps: Steps | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """``'OK'``, ``'OK with notes'``, or ``'unusable: '`` and why."""
        if self.problems:
            return f'unusable: {"; ".join(self.problems)}'
        return 'OK with notes' if self.notes else 'OK'

    def as_dict(self) -> dict:
        """For JSON."""
        return dict(verdict=self.verdict, **asdict(self))

    def judge_accuracy(self, top1: float, min_top1: float | None) -> None:
        """Note the accuracy, which is a problem if it is too low.

        Args:
            top1: Percent.
            min_top1: What is asked for, percent; None asks for twice of what
                guessing would give, of few classes for less.
        """
        self.top1 = top1
        num_classes = self.facts['num_classes'][0]
        assert isinstance(num_classes, int)
        chance = 100 / num_classes
        # Of few classes, half of the way from guessing to knowing.
        wanted = min(2 * chance, (100 + chance) / 2) \
            if min_top1 is None else min_top1
        if top1 < wanted:
            self.problems.append(
                f'top-1 is {top1:.2f} %, {wanted:.2f} % or more are needed '
                '(a wrong checkpoint, normalisation or channel order? '
                'otherwise lower min_top1)')


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
            ('iteration', f'{steps.iteration_seconds:.3g} s',
             f'one student and one generator step, batch of '
             f'{steps.batch_size}, on this machine'),
            ('generator gradient', f'{steps.generator_gradient:.3g}',
             'mean norm'),
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
