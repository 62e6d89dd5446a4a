"""Teachers from torchvision."""
from typing import Any

import torchvision

from tadfkd.classifiers.facts import Fact, Facts
from tadfkd.errors import UserError, nearest
from tadfkd.registry import MODELS
from tadfkd.teachers.loaded import LoadedTeacher


@MODELS.register_module()
class TorchvisionTeacher(LoadedTeacher):
    """A classifier of torchvision by name, frozen.

    Size and normalisation are those of torchvision's own weights; a network
    with another number of classes was trained by its owner, so there the
    fields ``mean``, ``std`` and ``input_size`` must be set.

    Args:
        model: A name in ``torchvision.models``, such as ``'resnet18'``.
        arguments: Of torchvision's function that builds it, for example
            ``dict(num_classes=10)``.
        **options: Everything else of
            :class:`~tadfkd.teachers.loaded.LoadedTeacher`.

    Raises:
        UserError: If there is no such model or checkpoint, or it does not
            cover the network's weights.
    """

    def __init__(self,
                 model: str,
                 arguments: dict[str, Any] | None = None,
                 **options: Any) -> None:
        known = torchvision.models.list_models(module=torchvision.models)
        if model not in known:
            raise UserError('model.teacher.model names the torchvision model '
                            f'{model!r}, which it does not have: '
                            f'{nearest(str(model), known)}')
        arguments = dict(arguments or {})
        try:
            network = torchvision.models.get_model(
                model, weights=None, **arguments)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError(f'torchvision cannot build {model} ({error}): '
                            'change model.teacher.arguments') from error
        weights = torchvision.models.get_model_weights(model).DEFAULT
        found: Facts = dict(channel_order=Fact('rgb', 'torchvision'))
        own_classes = len(weights.meta['categories'])
        if arguments.get('num_classes', own_classes) == own_classes:
            found |= _found(weights)
            # As torchvision does where it loads these weights itself.
            if 'transform_input' not in arguments and hasattr(
                    network, 'transform_input'):
                network.transform_input = True
        super().__init__(network, found, **options)


def _found(weights: torchvision.models.WeightsEnum) -> Facts:
    transforms = weights.transforms()
    source = f"torchvision's {weights}"
    size = transforms.crop_size
    return dict(
        mean=Fact([255 * value for value in transforms.mean], source),
        std=Fact([255 * value for value in transforms.std], source),
        input_size=Fact(size[0] if len(size) == 1 else tuple(size), source))
