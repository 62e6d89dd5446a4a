"""How the parts of an algorithm are built, and whether they fit."""
import logging
from collections.abc import Callable
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.registry import Registry
from torch import Tensor, nn

from tadfkd.errors import UserError
from tadfkd.generators import BaseGenerator, ProceduralGenerator
from tadfkd.generators.upsampling import BatchNormHead
from tadfkd.losses import ImageLoss, StatisticsLoss
from tadfkd.memory import ProceduralImages
from tadfkd.networks.freezing import frozen
from tadfkd.registry import MODELS
from tadfkd.teachers import BaseTeacher
from tadfkd.utils.library_errors import as_config_error


def build_part(name: str,
               config: dict,
               kind: type,
               registry: Registry = MODELS) -> Any:
    """A component of a kind.

    Args:
        name: The key below ``model``.
        config: Of the component.
        kind: The class that the component must be an instance of.
        registry: Where the component's type is registered.

    Raises:
        UserError: If the component is of another kind.
    """
    part = registry.build(config)
    if not isinstance(part, kind):
        raise UserError(f'{name} must be of type {kind.__name__}, got '
                        f'{type(part).__name__}: set model.{name}.type')
    return part


def build_image_losses(configs: dict[str, dict]) -> nn.ModuleDict:
    """The image terms of a model, by their names in ``image_losses``.

    Raises:
        UserError: If ``configs`` is not a dictionary, or a loss cannot be
            built.
    """
    if not isinstance(configs, dict):
        raise UserError('image_losses must be a dictionary of names and '
                        f'losses, got {configs!r}: set model.image_losses')
    return nn.ModuleDict({
        name:
        build_part(f'image_losses.{name}', loss, ImageLoss)
        for name, loss in configs.items()
    })


@torch.no_grad()
def build_bn_loss(config: dict | None, teacher: BaseTeacher | None,
                  generator: BaseGenerator) -> StatisticsLoss | None:
    """A loss on batch-norm statistics, if there is a config and a forward of
    the teacher gives statistics. A teacher without them is logged."""
    if config is None:
        return None
    loss = build_part('bn_loss', config, StatisticsLoss)
    if teacher is None:
        return loss
    # A layer may be there without being called.
    output = teacher(blank_images(generator), with_bn=True)
    if not output.bn_statistics:
        print_log(
            'the teacher has no batch norm with running statistics, so '
            'bn_loss is left out',
            logger='current',
            level=logging.WARNING)
        return None
    return loss


def build_procedural(config: dict | None, generator: BaseGenerator,
                     teacher: BaseTeacher | None) -> ProceduralImages | None:
    """Procedural images of the generator's size, if there is a config.

    They are drawn later, when the teacher is on its device.
    """
    if config is None:
        return None
    with as_config_error('model.procedural'):
        procedural = ProceduralImages(
            image_size=generator.image_size,
            image_channels=generator.image_channels,
            **config)
    share_normalization(teacher, procedural.generator)
    return procedural


def build_augmentation(name: str, config: dict | None,
                       generator: BaseGenerator) -> Any:
    """An augmentation, tried on two blank images; None without a config.

    Args:
        name: The key below ``model``.
        config: Of the augmentation.
        generator: Its images are augmented.

    Raises:
        UserError: If the component is no augmentation.
    """
    if not config:
        return None
    augmentation = MODELS.build(config)
    images_BCHW = blank_images(generator)
    with as_config_error(f'model.{name}', problem='fails on blank images'):
        answer = augmentation(images_BCHW, torch.Generator())
    if not isinstance(answer, Tensor) or answer.shape != images_BCHW.shape:
        raise UserError(f'{name} must be an augmentation of images, got '
                        f'{type(augmentation).__name__}: set '
                        f'model.{name}.type')
    return augmentation


def blank_images(generator: BaseGenerator) -> Tensor:
    """Two black images of the generator's size."""
    return torch.zeros(2, generator.image_channels, *generator.image_size)


def share_normalization(teacher: BaseTeacher | None,
                        network: nn.Module) -> None:
    """Give the teacher's mean and standard deviation to the parts that make
    images for it.

    Args:
        teacher: Without one, for evaluation, the network keeps its own.
        network: A generator, or a module that contains one.
    """
    if teacher is None:
        return
    for part in network.modules():
        if isinstance(part, BatchNormHead | ProceduralGenerator):
            part.adopt_normalization(
                *teacher.input_adapter.rgb_statistics(len(part.mean_C11)))


def require_generator(algorithm: object, generator: BaseGenerator,
                      example: str, *attributes: str) -> None:
    """Refuse a generator that lacks what an algorithm reads of it.

    Args:
        algorithm: For the message.
        generator: To be checked.
        example: Name of a generator class that has the attributes.
        *attributes: Their names.

    Raises:
        UserError: If an attribute is missing.
    """
    if not all(hasattr(generator, attribute) for attribute in attributes):
        raise UserError(f'{type(algorithm).__name__} needs a generator with '
                        f'{" and ".join(attributes)}, as {example} has, got '
                        f'{type(generator).__name__}: set '
                        'model.generator.type')


@torch.no_grad()
def require_fitting_networks(
        teacher: BaseTeacher | None, student: nn.Module,
        generator: BaseGenerator, student_logits: Callable[[Tensor],
                                                           Tensor]) -> int:
    """Try two blank images on the student, and compare class counts.

    Args:
        teacher: None for evaluation of the student alone.
        student: Unchanged.
        generator: Makes the images that both take.
        student_logits: The student's (B, K) logits for images in [0, 1].

    Returns:
        K.

    Raises:
        UserError: If a network cannot take the images, or counts differ.
    """
    images_BCHW = blank_images(generator)
    if teacher is not None:
        channels, expected = images_BCHW.shape[1], teacher.facts[
            'num_channels']
        repeats = channels == 1 and teacher.input_adapter.grey_to_rgb
        if expected.value != channels and not repeats:
            raise UserError(
                f'the teacher takes images of {expected.value} channels '
                f'({expected.source}), the generator makes {channels}: '
                'change model.generator.image_channels, or set '
                'model.teacher.grey_to_rgb for grey images')
    with frozen(student):
        try:
            num_classes = student_logits(images_BCHW).shape[1]
        except Exception as error:
            # Any network can be the student, so any exception can come.
            reason = str(error).partition('\n')[0]
            raise UserError(
                'the student cannot take the generated images of shape '
                f'{tuple(images_BCHW.shape[1:])} '
                f'({reason or type(error).__name__}): change '
                'model.student_input_size, model.generator.image_size or '
                'image_channels, or model.student') from error
    if generator.num_classes not in (None, num_classes):
        raise UserError(
            f'the student has {num_classes} classes and the generator '
            f'{generator.num_classes}: set num_classes in model.generator')
    if teacher is not None and num_classes != teacher.num_classes:
        raise UserError(
            f'the student has {num_classes} classes and the teacher '
            f'{teacher.num_classes}: give model.student as many classes')
    return num_classes
