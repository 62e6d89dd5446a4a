"""Tests of whether a teacher can be distilled, before a long run."""
import copy
import math
import statistics
import time

import torch
from mmengine.optim import OptimWrapperDict
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from tadfkd.algorithms import BaseDFKD
from tadfkd.distributed.wrapper import unwrapped
from tadfkd.errors import reason_of
from tadfkd.evaluation.teacher_report import Answers, Steps, TeacherReport
from tadfkd.generators import PixelGenerator, ProceduralGenerator
from tadfkd.structures import TeacherOutput
from tadfkd.teachers import BaseTeacher


@torch.no_grad()
def inspect_teacher(model: BaseDFKD, num_images: int = 64) -> TeacherReport:
    """Inspect a teacher on noise and on generated images.

    Neither the model nor its random streams change.

    Args:
        model: The algorithm, with its teacher.
        num_images: Number of images of each kind, >= 2. They are one batch.
    """
    teacher = model.teacher
    assert teacher is not None
    generated_BCHW = first_images(model, num_images, 'teacher_check')
    noise_BCHW = torch.rand(
        generated_BCHW.shape,
        generator=model.streams.fresh('teacher_check_noise', model.device),
        device=model.device)
    has_features = teacher.classification_layer is not None
    noise = teacher(noise_BCHW)
    generated = teacher(
        generated_BCHW, with_bn=True, with_features=has_features)
    with FlopCounterMode(display=False) as counter:
        teacher.logits(teacher.input_adapter(generated_BCHW[:1]))
    assert generated.bn_statistics is not None
    gradient, reason = _image_gradient(model, generated_BCHW)
    report = TeacherReport(
        facts=teacher.facts.copy(),
        num_parameters=_num_parameters(teacher.network),
        num_student_parameters=_num_parameters(model.student),
        multiply_adds=counter.get_total_flops() // 2,
        num_bn_layers=len(teacher.bn_layers),
        num_bn_seen=len(generated.bn_statistics),
        num_features=None
        if generated.features_BF is None else generated.features_BF.shape[1],
        image_gradient=gradient,
        noise=_answers(model, noise),
        generated=_answers(model, generated))
    report.problems += _problems(report, generated.logits_BK, reason)
    if not _same(noise.logits_BK, teacher(noise_BCHW).logits_BK):
        report.notes.append('it answers the same images differently when '
                            'asked twice: take dropout, or what else is '
                            'random, out of its eval mode')
    report.notes += _notes(report, model)
    _judge_units(report, model)
    return report


@torch.no_grad()
def calibrate_batch_norm(teacher: BaseTeacher, images_BCHW: Tensor) -> None:
    """Set the batch-norm statistics of a teacher to those of some images.

    With random weights, the initial statistics fit no image, so that
    activations vanish or explode from layer to layer.

    Args:
        teacher: The teacher, which is changed in place.
        images_BCHW: Float in [0, 1].
    """
    layers = [
        layer for layer in teacher.bn_layers if isinstance(layer, _BatchNorm)
    ]
    # A copy of the network as it was.
    teacher.lean = None
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        # With None, torch takes the plain mean of all batches.
        layer.momentum = None
        nn.Module.train(layer)
    try:
        teacher(images_BCHW)
    finally:
        for layer, momentum in zip(layers, momenta):
            layer.momentum = momentum
        teacher.train()


def _num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@torch.no_grad()
def first_images(model: BaseDFKD, size: int, purpose: str) -> Tensor:
    """Images of a generator in training mode, as in a generator step.

    In eval mode, an untrained generator gives uniformly grey images.

    Args:
        model: The algorithm, which stays unchanged.
        size: Number of images, >= 2. A :class:`PixelGenerator` gives at most
            its ``batch_size``.
        purpose: Name of the random stream of the latents.
    """
    generator = copy.deepcopy(unwrapped(model.generator)).train()
    if isinstance(generator, PixelGenerator):
        size = min(size, generator.batch_size)
    stream = model.streams.fresh(purpose, model.device)
    return model.candidates.render(generator, size, stream)


def _answers(model: BaseDFKD, output: TeacherOutput) -> Answers:
    logits_BK = output.logits_BK.float()
    mask_B = model.candidates.selector.select(output)
    return Answers(
        spread=logits_BK.std(0).mean().item(),
        confidence=logits_BK.softmax(1).amax(1).mean().item(),
        num_predicted=logits_BK.argmax(1).unique().numel(),
        kept=100 * mask_B.float().mean().item())


def _same(first_BK: Tensor, second_BK: Tensor) -> bool:
    """Whether logits are equal, except for rounding."""
    scale = 1e-3 * float(first_BK.abs().nan_to_num().amax())
    return torch.allclose(first_BK, second_BK, 0, scale, equal_nan=True)


@torch.enable_grad()
def _image_gradient(model: BaseDFKD, images_BCHW: Tensor) -> tuple[float, str]:
    """The mean norm of the gradient, and the reason if there is none."""
    # The largest networks have memory for only a few images.
    images_BCHW = images_BCHW[:8].clone().requires_grad_()
    try:
        logits_BK = model.teacher(images_BCHW).logits_BK.float()
        if not logits_BK.requires_grad:
            return 0.0, 'its answer is cut off from the image, as by ' \
                'detach, no_grad, NumPy or whole numbers'
        margins_B = logits_BK.amax(1) - logits_BK.mean(1)
        gradient_BCHW, = torch.autograd.grad(margins_B.sum(), images_BCHW)
    except Exception as error:
        # The code of any teacher can fail in any way, although it has just
        # answered without a gradient.
        return 0.0, reason_of(error)
    return gradient_BCHW.flatten(1).norm(
        dim=1).mean().item(), ('a head of zeros, an operation without '
                               'gradient, or a wrong mean or std')


def _problems(report: TeacherReport, logits_BK: Tensor,
              reason: str) -> list[str]:
    problems = []
    if not logits_BK.isfinite().all():
        problems.append('its logits are not finite')
    elif _are_probabilities(logits_BK):
        problems.append('it gives probabilities, not logits: take the softmax '
                        'off its end')
    elif report.noise.spread == 0 and report.generated.spread == 0:
        problems.append('it gives every image the same logits')
    gradient = torch.tensor(report.image_gradient)
    if not gradient.isfinite():
        problems.append('the gradient at the image is not finite')
    elif gradient == 0:
        problems.append(f'no gradient reaches the image ({reason})')
    return problems


def _judge_units(report: TeacherReport, model: BaseDFKD) -> None:
    """Whether ``mean`` and ``std`` are in units of [0, 255]."""
    mean, std = (report.facts[name].value[0] for name in ('mean', 'std'))
    units = (f'mean and std ({mean:g}, {std:g}) are taken in units of '
             '[0, 255]: if they are in units of [0, 1], set '
             'model.teacher.value_range=1.0, which makes them '
             f'({255 * mean:.4g}, {255 * std:.4g})')
    width = report.first_bn_width = _first_bn_width(report, model)
    seen = f'its first batch norm sees values {width or 0:.3g} times as ' \
        'wide as in training'
    if std > 1000:
        report.problems.append(
            f'std is {std:.4g} in units of [0, 255]: if you gave it in these '
            'units, leave model.teacher.value_range out; if not, change it')
    elif report.num_bn_seen == 0 and std <= 2:
        report.notes.append(units)
    elif width is not None and width > 10:
        report.problems.append(f'{seen}, because {units}; if not, change them')
    elif width is not None and not 0.35 <= width <= 4:
        report.notes.append(f'{seen}: check mean and std')


def _first_bn_width(report: TeacherReport, model: BaseDFKD) -> float | None:
    """See :attr:`TeacherReport.first_bn_width`."""
    if report.num_bn_seen == 0 or \
            report.facts.get('weights', ('', ''))[0] == 'random':
        return None
    generator = unwrapped(model.generator)
    smooth = ProceduralGenerator([
        dict(type='SpectralFields', exponents=(1.5, 2.5)),
        dict(type='Blobs')
    ], generator.image_size, generator.image_channels).to(model.device)
    stream = model.streams.fresh('teacher_check_units', model.device)
    first, *_ = model.teacher(
        smooth(
            torch.randn(
                64, smooth.latent_size, generator=stream,
                device=model.device)),
        with_bn=True).bn_statistics
    return float((first.variance_F /
                  first.running_variance_F.clamp_min(1e-12)).sqrt().median())


def _are_probabilities(logits_BK: Tensor) -> bool:
    sums_B = logits_BK.float().sum(1)
    return bool((logits_BK >= 0).all()
                and torch.allclose(sums_B, torch.ones_like(sums_B), atol=1e-4))


def _notes(report: TeacherReport, model: BaseDFKD) -> list[str]:
    notes = []
    facts = report.facts
    if facts.get('weights', ('', ''))[0] == 'random':
        notes.append('the weights are random')
    if report.num_bn_layers == 0:
        notes.append('there is no batch norm, so the batch-norm term is left '
                     'out')
    elif report.num_bn_seen != report.num_bn_layers:
        notes.append(f'{report.num_bn_seen} statistics of '
                     f'{report.num_bn_layers} batch-norm layers were seen: '
                     'layers are skipped or used several times')
    if report.num_student_parameters > report.num_parameters:
        ratio = report.num_student_parameters / report.num_parameters
        notes.append(f'the student has {ratio:.3g} times as many parameters '
                     'as the teacher')
    if report.num_features is None:
        notes.append('there are no penultimate features')
    if facts['channel_order'][1] == 'assumed' and \
            facts['num_channels'][0] != 1:
        notes.append('the channel order is assumed to be rgb')
    if facts['activation'][0] == 'sigmoid':
        notes.append('classes are judged one by one (sigmoid), whereas '
                     'selection and divergence read a softmax of the logits')
    size = unwrapped(model.generator).image_size
    if facts['input_size'][0] != size:
        notes.append(f'generated images of {size[0]} x {size[1]} are resized')
    if report.generated.kept > 99 or report.generated.kept < 1:
        notes.append(f'the selector keeps {report.generated.kept:.0f} % of '
                     'the generated images')
    return notes


def try_steps(model: BaseDFKD,
              optim_wrapper: OptimWrapperDict,
              repeats: int = 3) -> Steps:
    """Train for some iterations of one step each, and measure.

    Args:
        model: With its teacher. The iterations change the model.
        optim_wrapper: One wrapper for each trained network.
        repeats: Iterations that are timed, after an untimed one if there are
            several.
    """
    model.train()
    model.num_student_steps = model.num_generator_steps = 1
    # The student takes part from the first iteration on.
    model.warmup_iterations = 0
    if model.procedural is not None:
        model.procedural.num_candidates = model.procedural.size = max(
            2, model.batch_size)
    iterations = repeats + (repeats > 1)
    model.begin_training(iterations)
    seconds: list[float] = []
    for _ in range(iterations):
        start = time.perf_counter()
        model.train_step(None, optim_wrapper)
        if model.device.type == 'cuda':
            # The device is still at work when a step returns.
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    updates = model.counters.updates['generator']
    gradient = math.nan
    if updates.skipped == 0 and updates.applied > 0:
        gradient = updates.gradient_norm_sum / updates.applied
    return Steps(
        iteration_seconds=statistics.median(seconds[-repeats:]),
        generator_gradient=gradient,
        batch_size=model.batch_size)
