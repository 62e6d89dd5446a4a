"""Write a student, and compare each file with the student of the run."""
import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from mmengine.config import Config
from torch import Tensor

from tadfkd.algorithms import BaseDFKD
from tadfkd.classifiers.build import build_classifier
from tadfkd.classifiers.configs import bare_type, class_names_of
from tadfkd.classifiers.own_network import plain_network
from tadfkd.classifiers.student import find_student
from tadfkd.distributed.wrapper import unwrapped
from tadfkd.errors import UserError, reason_of, require_choice
from tadfkd.export.formats import FORMATS, Files, require_packages
from tadfkd.export.student_module import (DESCRIPTION, WEIGHTS, Student,
                                          build_student_module, is_own,
                                          read_description)
from tadfkd.networks.freezing import frozen
from tadfkd.utils.files import remove_leftovers, write_atomically, write_json
from tadfkd.utils.versions import versions

#: Names of formats that :func:`write_student` takes.
FORMAT_NAMES = ('safetensors', *FORMATS)
DEFAULT_FORMATS = ('safetensors', 'torch.export')
#: Images on which the files are compared with the student.
NUM_IMAGES = 64
#: Largest allowed difference of logits whose deviation is at most 1.
TOLERANCE = 1e-3
#: Least share of equal classes for a format whose weights are rounded.
LEAST_SAME_CLASS = 0.9
#: Training alone uses these parts of a model dict. ``mean`` and ``std`` are
#: written by themselves.
_NOT_ARCHITECTURE = ('data_preprocessor', 'train_cfg')


@torch.no_grad()
def write_student(
    model: BaseDFKD,
    config: Config,
    folder: str | os.PathLike,
    formats: Sequence[str] = DEFAULT_FORMATS,
    seed: int | None = None,
    optional: Sequence[str] = ()) -> list[str]:
    """Write the student that a run gives.

    ``model.safetensors`` and ``config.json`` are always written, and
    ``config.json`` last. Earlier files of other formats stay if they hold the
    same weights; else they are removed. Before anything is written, each file
    is read back, and its logits are compared with those of the student.

    Args:
        model: The algorithm after training, which does not change.
        config: Of the run.
        folder: Where to write, usually ``student/`` in the work directory.
        formats: Of :data:`FORMAT_NAMES`.
        seed: Of the run, for ``config.json``.
        optional: Formats that are left out if they cannot hold the student.

    Returns:
        One sentence for each format that was left out.

    Raises:
        UserError: If a format is unknown, lacks a package or cannot hold the
            student; or if logits differ by more than 1e-3 times their
            standard deviation, or 1e-3 if the deviation is below 1; or if
            rounded weights give more than a tenth of images another class.
        OSError: If a file cannot be written.
    """
    for name in formats:
        require_choice('export', 'format', name, FORMAT_NAMES)
    formats = [name for name in FORMATS if name in formats]
    for name in formats:
        require_packages(name)
    folder = Path(folder)
    description = _describe(model, config, seed)
    weights = safetensors.torch.save({
        # Weights can be tied, and safetensors refuses those.
        name: value.cpu().contiguous().clone()
        for name, value in plain_network(model.result).state_dict().items()
    })
    images_BCHW, expected_BK = _reference(model)
    student = _student(description, safetensors.torch.load(weights), config)
    files: Files = {WEIGHTS: weights}
    parity = dict(
        safetensors=_compare('safetensors', student(images_BCHW), expected_BK))
    problems = []
    for name in formats:
        try:
            written, classify = FORMATS[name].write(student, description,
                                                    images_BCHW)
            parity[name] = _compare(name, classify(images_BCHW), expected_BK)
        except Exception as error:
            # Exporters raise exceptions of many types.
            problem = error if isinstance(error, UserError) else UserError(
                f'the student cannot be written as {name} '
                f'({type(error).__name__}: {reason_of(error)}): leave this '
                'format out')
            if name not in optional:
                raise problem from error
            problems.append(str(problem))
        else:
            files |= written
    _write(folder, files, description, parity)
    return problems


def student_of(model: BaseDFKD, config: Config) -> Student:
    """The student that a run gives, on the CPU and in eval mode.

    Args:
        model: The algorithm after training.
        config: Of the run.

    Raises:
        UserError: If the student cannot be built again.
    """
    weights = plain_network(model.result).state_dict()
    return _student(_describe(model, config, None), weights, config)


def _student(description: dict[str, Any], weights: dict[str, Tensor],
             config: Config) -> Student:
    # An object of the user's own is in the config alone.
    own = None
    if is_own(description):
        architecture, _ = find_student(config.model.student, None)
        own = build_classifier(architecture)
    return build_student_module(description, weights, 'the student of the run',
                                own)


def _describe(model: BaseDFKD, config: Config,
              seed: int | None) -> dict[str, Any]:
    """The content of ``config.json``, without ``parity``."""
    architecture, _ = find_student(config.model.student, model.num_classes)
    adapter, generator = model.student_input, unwrapped(model.generator)
    # Without the rounding errors of float32.
    mean, std = ([float(f'{value:.7g}') for value in values]
                 for values in (adapter.mean_255, adapter.std_255))
    classes = class_names_of(config)
    teacher = dict(config.model.teacher)
    if isinstance(teacher.get('checkpoint'), str):
        # A student is given away, and folders are its maker's own affair.
        teacher['checkpoint'] = Path(teacher['checkpoint']).name
    description = dict(
        architecture={
            key: value
            for key, value in architecture.items()
            if key not in _NOT_ARCHITECTURE
        },
        output=model._student_part,
        logit_scale=float(model.logit_scale) if model.scale_targets else 1.0,
        num_classes=model.num_classes,
        classes=classes
        if classes and len(classes) == model.num_classes else None,
        image_size=generator.image_size,
        channels=generator.image_channels,
        network_size=adapter.input_size,
        channel_order=adapter.channel_order,
        mean=[value / 255 for value in mean],
        std=[value / 255 for value in std],
        mean_255=mean,
        std_255=std,
        algorithm=bare_type(config.model),
        teacher=json.loads(json.dumps(teacher, default=str)),
        seed=seed,
        versions=versions())
    try:
        return json.loads(json.dumps(description))
    except TypeError as error:
        raise UserError('model.student holds a value that JSON does not have '
                        f'({reason_of(error)}): write it by numbers, names '
                        'and dictionaries') from error


def _reference(model: BaseDFKD) -> tuple[Tensor, Tensor]:
    """images_BCHW, and the (B, K) logits of the run's student for them."""
    images_BCHW = model.synthesize(NUM_IMAGES, 'parity').float()
    # In the precision of the files, and without compiling for a new batch.
    with frozen(model.result), torch.compiler.set_stance('force_eager'), \
            torch.backends.cudnn.flags(allow_tf32=False):
        logits_BK = model.result_logits(images_BCHW)
    return images_BCHW.cpu().contiguous(), logits_BK.float().cpu()


def _compare(name: str, found_BK: Tensor,
             expected_BK: Tensor) -> dict[str, float]:
    """The entry of ``parity`` in ``config.json``."""
    difference = float((found_BK - expected_BK).abs().max())
    same_B = found_BK.argmax(1) == expected_BK.argmax(1)
    same = float(same_B.float().mean())
    if name in FORMATS and not FORMATS[name].is_exact:
        if same < LEAST_SAME_CLASS:
            raise UserError(
                f'the format {name} gives {same:.0%} of images the '
                f"student's class, and {LEAST_SAME_CLASS:.0%} are "
                'required: leave this format out')
        return dict(largest_difference=difference, same_class_share=same)
    allowed = TOLERANCE * max(1.0, float(expected_BK.std()))
    # NaN is not allowed either.
    if not difference <= allowed:
        raise UserError(f'the logits of the format {name} differ from the '
                        f"student's by {difference:.3g}, and {allowed:.3g} is "
                        'allowed: leave this format out')
    return dict(largest_difference=difference, same_class_share=same)


def _write(folder: Path, files: Files, description: dict,
           parity: dict[str, dict[str, float]]) -> None:
    """Write the files, and ``config.json`` last."""
    remove_leftovers(folder)
    earlier: dict[str, Any] = {}
    if (folder / WEIGHTS).is_file() \
            and (folder / WEIGHTS).read_bytes() == files[WEIGHTS]:
        # Without a config.json, it is not known what the other files are.
        with contextlib.suppress(UserError):
            earlier = read_description(folder).get('parity', {})
    (folder / DESCRIPTION).unlink(missing_ok=True)
    for name, form in FORMATS.items():
        for file in form.files:
            if name not in earlier:
                (folder / file).unlink(missing_ok=True)
    for file, content in files.items():
        write_atomically(folder / file, content)
    write_json(folder / DESCRIPTION,
               description | dict(parity=earlier | parity))
