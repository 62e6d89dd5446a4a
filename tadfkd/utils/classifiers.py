"""mmpretrain classifiers: finding, building and feeding them."""
import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from mmengine.config import Config, ConfigDict
from torch import Tensor, nn
from torch.nn import functional

from tadfkd.utils.errors import UserError, nearest

ChannelOrder = Literal['rgb', 'bgr']


class InputAdapter(nn.Module):
    """Images in [0, 1], RGB -> the input that one network was trained on.

    Differentiable: resizes, orders channels, subtracts the mean and divides
    by the standard deviation.

    Args:
        mean: Per channel, in units of [0, 255], in the network's order.
        std: Likewise, > 0.
        channel_order: ``'rgb'`` or ``'bgr'``, what the network expects.
        input_size: Height and width that images are resized to (bilinear,
            antialiased); None leaves them as they are.
        grey_to_rgb: Whether a grey image may enter a network of several
            channels, as that many equal ones.
    """

    def __init__(self,
                 mean: Sequence[float],
                 std: Sequence[float],
                 channel_order: ChannelOrder = 'rgb',
                 input_size: tuple[int, int] | None = None,
                 grey_to_rgb: bool = False) -> None:
        super().__init__()
        if channel_order not in ('rgb', 'bgr'):
            raise UserError("channel_order must be 'rgb' or 'bgr', got "
                            f'{channel_order!r}: set channel_order')
        if not all(value > 0 for value in std):
            raise UserError(f'std must be > 0 for every channel, got {std}: '
                            'change the std of the data_preprocessor')
        self.channel_order = channel_order
        self.input_size = input_size
        self.grey_to_rgb = grey_to_rgb
        self.mean: Tensor
        self.std: Tensor
        # Not persistent: they belong to the config, not to the weights.
        self.register_buffer('mean',
                             torch.tensor(mean).float().view(-1, 1, 1) / 255,
                             False)
        self.register_buffer('std',
                             torch.tensor(std).float().view(-1, 1, 1) / 255,
                             False)

    @classmethod
    def of(cls,
           network: nn.Module,
           channel_order: ChannelOrder = 'rgb',
           input_size: tuple[int, int] | None = None,
           grey_to_rgb: bool = False) -> 'InputAdapter':
        """The adapter of an mmpretrain classifier, by its preprocessor.

        A preprocessor without mean hands on pixel values in [0, 255].
        """
        preprocessor: Any = network.data_preprocessor
        if getattr(preprocessor, '_enable_normalize', False):
            mean = preprocessor.mean.flatten().tolist()
            std = preprocessor.std.flatten().tolist()
        else:
            mean, std = [0.0], [1.0]
        return cls(mean, std, channel_order, input_size, grey_to_rgb)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Map images in [0, 1] to the network's input.

        Raises:
            UserError: If the images have another number of channels.
        """
        size = self.input_size
        if size is not None and size != images_BCHW.shape[-2:]:
            images_BCHW = functional.interpolate(
                images_BCHW,
                size,
                mode='bilinear',
                align_corners=False,
                antialias=True)
        return self.normalize(images_BCHW)

    def normalize(self, images_BCHW: Tensor) -> Tensor:
        """Order the channels, subtract the mean, divide by the deviation.

        Raises:
            UserError: If the images have another number of channels.
        """
        # One mean serves any number of channels; several turn a grey image
        # into that many channels, but not unasked.
        channels, given = len(self.mean), images_BCHW.shape[1]
        repeats = self.grey_to_rgb and given == 1
        if channels not in (1, given) and not repeats:
            raise UserError(f'mean and std are for {channels} channels, got '
                            f'images of {given}: change the mean and std of '
                            'the data_preprocessor, or set grey_to_rgb of a '
                            'teacher that is to see grey images')
        if self.channel_order == 'bgr':
            images_BCHW = images_BCHW.flip(1)
        return (images_BCHW - self.mean) / self.std


def find_classifier(model: str | dict,
                    where: str) -> tuple[dict, Config | None]:
    """The model dict that a config field names.

    Args:
        model: The name of a model in mmpretrain's zoo, the path of a config,
            or a model dict.
        where: The field, for messages.

    Returns:
        A model dict of the caller's own, and the whole config it is from, if
        it is from one.

    Raises:
        UserError: If there is no such model.
    """
    if isinstance(model, dict):
        return copy.deepcopy(ConfigDict(model).to_dict()), None
    if not isinstance(model, str | os.PathLike):
        raise UserError(f'{where} must be a zoo name, a config path or a '
                        f'model dict, got {model!r}')
    name = os.fspath(model)
    if name.endswith('.py'):
        if '::' not in name and not Path(name).is_file():
            raise UserError(f'{where} names the config {name}, which does '
                            'not exist: name an existing one')
        try:
            config = Config.fromfile(name)
        except Exception as error:
            # A config is a program: it can fail in any way.
            raise UserError(f'{where} names the config {name}, which cannot '
                            f'be read ({error}): mend it') from error
        if 'model' not in config:
            raise UserError(f'{where} names the config {name}, which has no '
                            'model: name the config of a classifier')
    else:
        from mmpretrain.apis import ModelHub, list_models
        if name not in list_models():
            raise UserError(f'{where} names the model {name!r}, which '
                            "mmpretrain's zoo does not have: "
                            f'{nearest(name, list_models(task=None)[:])}')
        config = ModelHub.get(name).config
    found = config.model.to_dict()
    if 'data_preprocessor' in config:
        found.setdefault('data_preprocessor',
                         config.data_preprocessor.to_dict())
    return found, config


def build_classifier(model: dict) -> nn.Module:
    """Build an mmpretrain classifier from its dict, whatever the scope."""
    from mmpretrain.registry import MODELS
    return MODELS.build(dict(model, _scope_='mmpretrain'))


def without_pretrained_weights(model: Any) -> Any:
    """The same dict, in which no part loads weights of its own."""
    if isinstance(model, dict):
        return {
            key: without_pretrained_weights(value)
            for key, value in model.items()
            if not (key == 'init_cfg' and isinstance(value, dict)
                    and value.get('type') == 'Pretrained')
        }
    if isinstance(model, list | tuple):
        return type(model)(without_pretrained_weights(item) for item in model)
    return model


def classifier_logits(network: nn.Module, inputs_BCHW: Tensor) -> Tensor:
    """The (B, K) logits of an mmpretrain classifier.

    Raises:
        UserError: If the network's output is anything else.
    """
    output = network(inputs_BCHW, mode='tensor')
    if not isinstance(output, Tensor) or output.ndim != 2:
        shape = tuple(output.shape) if isinstance(
            output, Tensor) else type(output).__name__
        raise UserError(f'{type(network).__name__} must return one (batch, '
                        f'classes) tensor of logits, got {shape}: use a model '
                        'with a single classification head')
    return output


def with_predictions(logits_BK: Tensor, data_samples: list | None) -> list:
    """Data samples with ``pred_score`` and ``pred_label``, made if None."""
    from mmpretrain.structures import DataSample
    scores_BK = logits_BK.float().softmax(1)
    if data_samples is None:
        data_samples = [DataSample() for _ in scores_BK]
    for sample, scores_K, label in zip(data_samples, scores_BK,
                                       scores_BK.argmax(1)):
        sample.set_pred_score(scores_K).set_pred_label(label)
    return data_samples
