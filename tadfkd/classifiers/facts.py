"""What the configs of classifiers tell of them, and where."""
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from mmengine.config import Config
from PIL import Image
from torch import Tensor, nn

from tadfkd.classifiers.configs import (channel_order_of, input_size_of,
                                        normalisation_of, wrapped_library)
from tadfkd.classifiers.outputs import own_input_size
from tadfkd.errors import UserError


class Fact(NamedTuple):
    """A value, and a phrase that says where it was found."""

    value: Any
    source: str


#: By the name of the field of ``model.teacher`` that sets it.
Facts: TypeAlias = dict[str, Fact]


def facts_of(model: dict, config: Config | None, network: nn.Module) -> Facts:
    """What is known of an mmpretrain classifier without asking it.

    The model dict, the config that it is from and the library that it wraps
    tell; what comes first there counts.

    Args:
        model: Its dict.
        config: The whole config, if it is from one.
        network: As built from the dict.

    Raises:
        UserError: If a record of a wrapped library cannot be read.
    """
    found: Facts = {}
    if config is not None:
        order = channel_order_of(config, model)
        if order is not None:
            found['channel_order'] = Fact(order, 'the data of the config')
        size = input_size_of(config)
        if size is not None:
            found['input_size'] = Fact(size, 'the test data of the config')
    if model.get('data_preprocessor') is not None:
        found |= _normalisation(network)
    normalisation = config and normalisation_of(config)
    if normalisation is not None and 'mean' not in (
            model.get('data_preprocessor') or {}):
        source = 'Normalize in the test data of the config'
        found |= dict(
            mean=Fact(normalisation[0], source),
            std=Fact(normalisation[1], source))
    library = wrapped_library(model)
    if library == 'timm':
        found = _found_by_timm(network.model) | found
    if library == 'transformers':
        found = _found_by_transformers(network.model,
                                       model['model_name']) | found
    return found | _found_in_head(network)


def _normalisation(network: nn.Module) -> Facts:
    """A preprocessor without mean hands on pixel values in [0, 255]."""
    preprocessor: Any = network.data_preprocessor
    source = 'data_preprocessor'
    if not getattr(preprocessor, '_enable_normalize', False):
        return dict(mean=Fact([0.0], source), std=Fact([1.0], source))
    return {
        name: Fact(getattr(preprocessor, name).flatten().tolist(), source)
        for name in ('mean', 'std')
    }


def _found_by_timm(network: Any) -> Facts:
    """timm records how the weights that it publishes were trained."""
    record: Any = getattr(network, 'pretrained_cfg', None) or {}
    found: Facts = dict(channel_order=Fact('rgb', 'timm'))
    source = "timm's pretrained_cfg"
    # A model for other classes was trained by its owner, in whatever way.
    if record.get('num_classes') == getattr(network, 'num_classes', None):
        for name in ('mean', 'std'):
            if record.get(name):
                found[name] = Fact([255 * value for value in record[name]],
                                   source)
        if record.get('input_size') and own_input_size(network) is None:
            found['input_size'] = Fact(tuple(record['input_size'][1:]), source)
    return found


def _found_by_transformers(network: Any, folder: str) -> Facts:
    """Hugging Face writes the preprocessing beside the weights."""
    found: Facts = dict(channel_order=Fact('rgb', 'transformers'))
    size = getattr(network.config, 'image_size', None)
    if size:
        size = size if isinstance(size, int) else tuple(size)
        found['input_size'] = Fact(size, 'config.json')
    if getattr(network.config, 'num_channels', None):
        found['num_channels'] = Fact(network.config.num_channels,
                                     'config.json')
    kind = getattr(network.config, 'problem_type', None)
    if kind == 'multi_label_classification':
        found['activation'] = Fact('sigmoid', 'config.json')
    path = Path(folder, 'preprocessor_config.json')
    return found | _found_by_processor(path) if path.is_file() else found


def _found_by_processor(path: Path) -> Facts:
    """What a Hugging Face image processor does to images of one colour.

    Its options have other meanings in each of its classes; what comes out is
    a mean, a deviation, an order and a size for all of them.
    """
    from transformers import AutoImageProcessor
    source = path.name
    try:
        processor = AutoImageProcessor.from_pretrained(
            path.parent, trust_remote_code=False)

        def answer(*colour: int) -> Tensor:
            image = Image.new('RGB', (512, 512), colour)
            return processor(
                images=image, return_tensors='pt')['pixel_values'][0].double()

        black_CHW, white_CHW, red_CHW = (answer(0, 0,
                                                0), answer(255, 255, 255),
                                         answer(255, 0, 0))
        height, width = black_CHW.shape[1:]
        black_C, white_C, red_C = (
            image_CHW[:, height // 2, width // 2]
            for image_CHW in (black_CHW, white_CHW, red_CHW))
        # The output is (pixel - mean) / std.
        std_C = 255 / (white_C - black_C)
        if len(std_C) != 3 or not std_C.isfinite().all():
            raise ValueError('it does not give three channels')
        order = 'rgb' if red_C[0] != black_C[0] else 'bgr'
        return dict(
            mean=Fact(_rounded(-black_C * std_C), source),
            std=Fact(_rounded(std_C), source),
            channel_order=Fact(order, source),
            input_size=Fact((height, width), source))
    except Exception as error:
        # The file is anybody's, and so is what reads it.
        reason = str(error).strip().partition('\n')[0]
        raise UserError(f'{path} cannot be read '
                        f'({reason or type(error).__name__}): mend it, or set '
                        'mean and std of model.teacher and take the file '
                        'away') from error


def _rounded(values_C: Tensor) -> list[float]:
    """What of them is not float32's own."""
    return [float(f'{value:.6g}') for value in values_C.tolist()]


def _found_in_head(network: Any) -> Facts:
    from mmpretrain.models import ClsHead, ConformerHead, MultiLabelClsHead
    head = getattr(network, 'head', None)
    found: Facts = {}
    # VGG, InceptionV3 and the like classify in their backbone.
    part = getattr(network, 'backbone',
                   None) if head is None or type(head) is ClsHead else head
    num_classes = getattr(part, 'num_classes', None)
    if isinstance(num_classes, int) and num_classes > 0:
        found['num_classes'] = Fact(num_classes, type(part).__name__)
    if head is not None:
        is_multi_label = isinstance(head, MultiLabelClsHead)
        found['activation'] = Fact('sigmoid' if is_multi_label else 'softmax',
                                   type(head).__name__)
    if isinstance(head, ConformerHead):
        # It predicts by the sum of its two answers.
        found['output'] = Fact('sum', type(head).__name__)
    return found
