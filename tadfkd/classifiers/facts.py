"""Facts about a classifier, and where each of them was found."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from mmengine.config import Config
from PIL import Image
from torch import Tensor, nn

from tadfkd.classifiers.configs import (channel_order_of, input_size_of,
                                        normalisation_of, wrapped_library)
from tadfkd.errors import UserError, reason_of


class Fact(NamedTuple):
    """A value, and a phrase that says where it was found."""

    value: Any
    source: str


#: Facts by the name of the field of ``model.teacher`` that overrides them.
Facts: TypeAlias = dict[str, Fact]


def own_input_size(network: nn.Module) -> tuple[int, int] | None:
    """Height and width that a network was built for, if it has them.

    Vision transformers store the size under one of two names, in the network
    or in the layer that cuts the image into patches.
    """
    for module in network.modules():
        for name in ('img_size', 'image_size'):
            size = getattr(module, name, None)
            if isinstance(size, int):
                return size, size
            if isinstance(size, Sequence) and len(size) == 2:
                return int(size[0]), int(size[1])
    return None


def own_num_channels(network: nn.Module) -> int | None:
    """The input channels of the first convolution, if there is one."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels
    return None


def facts_of(model: dict, config: Config | None, network: nn.Module) -> Facts:
    """Facts about an mmpretrain classifier, without a forward pass.

    They come from the model dict, the config around it, and the library that
    the classifier wraps, in this order of priority.

    Args:
        model: The model dict.
        config: The config that contains it, if there is one.
        network: The network, as built from the dict.

    Raises:
        UserError: If a record of the wrapped library cannot be read.
    """
    # A ModuleClassifier has its own.
    facts: Facts = dict(getattr(network, 'facts', {}))
    if config is not None:
        order = channel_order_of(config, model)
        if order is not None:
            facts['channel_order'] = Fact(order, 'the data of the config')
        size = input_size_of(config)
        if size is not None:
            facts['input_size'] = Fact(size, 'the test data of the config')
    if model.get('data_preprocessor') is not None:
        facts |= _normalisation(network)
    normalisation = config and normalisation_of(config)
    if normalisation is not None and 'mean' not in (
            model.get('data_preprocessor') or {}):
        source = 'Normalize in the test data of the config'
        facts |= dict(
            mean=Fact(normalisation[0], source),
            std=Fact(normalisation[1], source))
    library = wrapped_library(model)
    if library == 'timm':
        facts = _facts_from_timm(network.model) | facts
    if library == 'transformers':
        facts = _facts_from_transformers(network.model,
                                         model['model_name']) | facts
    return facts | facts_from_head(network)


def _normalisation(network: nn.Module) -> Facts:
    """A preprocessor without mean passes on pixel values in [0, 255]."""
    preprocessor: Any = network.data_preprocessor
    source = 'data_preprocessor'
    if not getattr(preprocessor, '_enable_normalize', False):
        return dict(mean=Fact([0.0], source), std=Fact([1.0], source))
    return {
        name: Fact(getattr(preprocessor, name).flatten().tolist(), source)
        for name in ('mean', 'std')
    }


def _facts_from_timm(network: Any) -> Facts:
    """timm records how its published weights were trained."""
    record: Any = getattr(network, 'pretrained_cfg', None) or {}
    facts: Facts = dict(channel_order=Fact('rgb', 'timm'))
    source = "timm's pretrained_cfg"
    # A model with other classes was not trained by timm.
    if record.get('num_classes') == getattr(network, 'num_classes', None):
        for name in ('mean', 'std'):
            if record.get(name):
                facts[name] = Fact([255 * value for value in record[name]],
                                   source)
        if record.get('input_size') and own_input_size(network) is None:
            facts['input_size'] = Fact(tuple(record['input_size'][1:]), source)
    return facts


def _facts_from_transformers(network: Any, folder: str) -> Facts:
    """Hugging Face stores the preprocessing beside the weights."""
    facts: Facts = dict(channel_order=Fact('rgb', 'transformers'))
    size = getattr(network.config, 'image_size', None)
    if size:
        size = size if isinstance(size, int) else tuple(size)
        facts['input_size'] = Fact(size, 'config.json')
    if getattr(network.config, 'num_channels', None):
        facts['num_channels'] = Fact(network.config.num_channels,
                                     'config.json')
    kind = getattr(network.config, 'problem_type', None)
    if kind == 'multi_label_classification':
        facts['activation'] = Fact('sigmoid', 'config.json')
    path = Path(folder, 'preprocessor_config.json')
    return facts | _facts_from_processor(path) if path.is_file() else facts


def _facts_from_processor(path: Path) -> Facts:
    """Normalisation, size and channel order of a Hugging Face processor.

    Options have different meanings in each class of processors. So images of
    one colour are processed, and the facts are computed from the results.
    """
    from transformers import AutoImageProcessor
    source = path.name
    try:
        processor = AutoImageProcessor.from_pretrained(
            path.parent, trust_remote_code=False)

        def processed(*colour: int) -> Tensor:
            image = Image.new('RGB', (512, 512), colour)
            return processor(
                images=image, return_tensors='pt')['pixel_values'][0].double()

        black_CHW = processed(0, 0, 0)
        white_CHW = processed(255, 255, 255)
        red_CHW = processed(255, 0, 0)
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
        # A damaged file can raise any exception.
        raise UserError(f'{path} cannot be read '
                        f'({reason_of(error)}): correct it, or '
                        'set mean and std of model.teacher and delete the '
                        'file') from error


def _rounded(values_C: Tensor) -> list[float]:
    """The values without the rounding errors of float32."""
    return [float(f'{value:.6g}') for value in values_C.tolist()]


def facts_from_head(network: Any) -> Facts:
    """Facts that the head of an mmpretrain classifier says."""
    from mmpretrain.models import ClsHead, ConformerHead, MultiLabelClsHead
    head = getattr(network, 'head', None)
    facts: Facts = {}
    # VGG, InceptionV3 and the like classify in their backbone.
    part = getattr(network, 'backbone',
                   None) if head is None or type(head) is ClsHead else head
    num_classes = getattr(part, 'num_classes', None)
    # One logit is for two classes.
    if isinstance(num_classes, int) and num_classes > 1:
        facts['num_classes'] = Fact(num_classes, type(part).__name__)
    if head is not None:
        is_multi_label = isinstance(head, MultiLabelClsHead)
        facts['activation'] = Fact('sigmoid' if is_multi_label else 'softmax',
                                   type(head).__name__)
    if isinstance(head, ConformerHead):
        # Its prediction is the sum of its two outputs.
        facts['output'] = Fact('sum', type(head).__name__)
    return facts
