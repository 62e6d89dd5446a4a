"""Teachers from torchvision."""
from typing import Any

import torchvision
from torch import nn

from tadfkd.classifiers.facts import Fact, Facts
from tadfkd.errors import UserError, nearest
from tadfkd.registry import MODELS
from tadfkd.teachers.checkpoint_teacher import CheckpointTeacher


@MODELS.register_module()
class TorchvisionTeacher(CheckpointTeacher):
    """A torchvision classifier by name, frozen.

    Size and normalisation are those of torchvision's own weights. A network
    with another number of classes was trained elsewhere, so the fields
    ``mean``, ``std`` and ``input_size`` must be set for it.

    Args:
        model: A name in ``torchvision.models``, such as ``'resnet18'``.
        arguments: Arguments of torchvision's function that builds it, for
            example ``dict(num_classes=10)``. The default class count is
            ``num_classes`` of the teacher, or that of the checkpoint.
        **options: Other arguments of
            :class:`~tadfkd.teachers.checkpoint_teacher.CheckpointTeacher`.

    Raises:
        UserError: If there is no such model or checkpoint, or the checkpoint
            does not contain exactly the network's weights.
    """

    def __init__(self,
                 model: str,
                 arguments: dict[str, Any] | None = None,
                 **options: Any) -> None:
        known = torchvision.models.list_models(module=torchvision.models)
        if model not in known:
            raise UserError(f'torchvision has no model {model!r}, which '
                            'model.teacher.model names: '
                            f'{nearest(str(model), known)}')
        weights = torchvision.models.get_model_weights(model).DEFAULT
        own_classes = len(weights.meta['categories'])
        given = dict(arguments or {})

        def build(num_classes: int | None) -> nn.Module:
            if num_classes is not None:
                given.setdefault('num_classes', num_classes)
            try:
                network = torchvision.models.get_model(
                    model, weights=None, **given)
            except (TypeError, ValueError, RuntimeError) as error:
                raise UserError(f'torchvision cannot build {model} ({error}): '
                                'change model.teacher.arguments') from error
            # torchvision sets it when it loads these weights itself.
            if given.get('num_classes', own_classes) == own_classes and \
                    'transform_input' not in given and hasattr(
                        network, 'transform_input'):
                network.transform_input = True
            return network

        def facts_of(_: nn.Module) -> Facts:
            facts: Facts = dict(channel_order=Fact('rgb', 'torchvision'))
            if given.get('num_classes', own_classes) == own_classes:
                facts |= _facts_from_torchvision(weights)
            return facts

        super().__init__(build, facts_of, **options)


def _facts_from_torchvision(weights: torchvision.models.WeightsEnum) -> Facts:
    transforms = weights.transforms()
    source = f"torchvision's {weights}"
    size = transforms.crop_size
    return dict(
        mean=Fact([255 * value for value in transforms.mean], source),
        std=Fact([255 * value for value in transforms.std], source),
        input_size=Fact(size[0] if len(size) == 1 else tuple(size), source))
