"""Parts of an algorithm, tried out when they are built.

A part of another kind has the right type for the config, and would fail
only in training.
"""
from typing import TYPE_CHECKING, Any

import torch
from mmengine.registry import Registry
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.registry import MODELS
from tadfkd.structures import BNStatistics, TeacherOutput
from tadfkd.utils.library_errors import as_config_error

if TYPE_CHECKING:
    from tadfkd.algorithms.networks import DistillationNetworks


def build_part(name: str,
               config: dict,
               kind: type,
               registry: Registry = MODELS) -> Any:
    """A component of a kind.

    Args:
        name: The key below ``model``.
        config: Of the component.
        kind: What it must be an instance of.
        registry: Where its type is registered.

    Raises:
        UserError: If it is something else.
    """
    part = registry.build(config)
    if not isinstance(part, kind):
        raise UserError(f'{name} must be a {kind.__name__}, got '
                        f'{type(part).__name__}: set model.{name}.type')
    return part


def build_loss(name: str, config: dict, *example: Any) -> Any:
    """A loss that gives a number, or several by name, for an example.

    Args:
        name: The key below ``model``.
        config: Of the loss.
        *example: Arguments like those that training will give.

    Raises:
        UserError: If it does not.
    """
    loss = MODELS.build(config)
    with as_config_error(
            f'model.{name}', problem='fails on an example'), torch.no_grad():
        answer = loss(*example)
    terms = answer.values() if isinstance(answer, dict) else [answer]
    if not all(isinstance(term, Tensor) and term.ndim == 0 for term in terms):
        raise UserError(f'{name} must be a loss that gives one number, got '
                        f'{type(loss).__name__}: set model.{name}.type')
    return loss


def build_logits_loss(model: 'DistillationNetworks', name: str,
                      config: dict) -> Any:
    """A loss on student_BK and teacher_BK."""
    logits_BK = torch.zeros(2, model.num_classes)
    return build_loss(name, config, logits_BK, logits_BK)


def build_bn_loss(config: dict) -> Any:
    """A loss on the statistics of batch-norm layers."""
    return build_loss('bn_loss', config,
                      (BNStatistics(*(torch.zeros(1) for _ in range(4))), ))


def build_image_loss(model: 'DistillationNetworks', name: str,
                     config: dict) -> Any:
    """A loss on images_BCHW."""
    return build_loss(name, config, blank_images(model))


def build_class_prior(model: 'DistillationNetworks', config: dict) -> Any:
    """A loss on a :class:`TeacherOutput`, with names for its terms."""
    output = TeacherOutput(
        torch.zeros(2, model.num_classes), torch.zeros(2, 1))
    prior = build_loss('class_prior', config, output)
    if not hasattr(prior, 'reads_features'):
        raise UserError('class_prior must be a ClassPrior, got '
                        f'{type(prior).__name__}: set model.class_prior.type')
    return prior


def build_augmentation(model: 'DistillationNetworks', name: str,
                       config: dict | None) -> Any:
    """An augmentation, which gives as many images as it gets; or none."""
    if not config:
        return None
    augmentation = MODELS.build(config)
    images_BCHW = blank_images(model)
    with as_config_error(f'model.{name}', problem='fails on blank images'):
        answer = augmentation(images_BCHW, torch.Generator())
    if not isinstance(answer, Tensor) or answer.shape != images_BCHW.shape:
        raise UserError(f'{name} must be an augmentation of images, got '
                        f'{type(augmentation).__name__}: set '
                        f'model.{name}.type')
    return augmentation


def blank_images(model: 'DistillationNetworks') -> Tensor:
    """Two of the size that the generator makes."""
    return torch.zeros(2, model.generator.image_channels,
                       *model.generator.image_size)


def require_generator(model: 'DistillationNetworks', example: str, *attributes:
                      str) -> None:
    """Refuse a generator that lacks what an algorithm asks of it.

    Args:
        model: The algorithm.
        example: A generator that has it.
        *attributes: Names.
    """
    generator = model.generator
    if not all(hasattr(generator, attribute) for attribute in attributes):
        raise UserError(f'{type(model).__name__} needs a generator with '
                        f'{" and ".join(attributes)}, as {example} has, got '
                        f'{type(generator).__name__}: set '
                        'model.generator.type')
