"""Convert a public checkpoint to an mmpretrain checkpoint and a config."""
import io
import math
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config

from tadfkd.checkpoints.reading import read_checkpoint
from tadfkd.checkpoints.weights import load_weights
from tadfkd.classifiers.build import build_classifier
from tadfkd.converters.resnet import read_resnet
from tadfkd.converters.source import (PublicNetwork, Weights, source_weights,
                                      unknown_layout)
from tadfkd.converters.vgg import read_vgg
from tadfkd.converters.wide_resnet import is_wide_resnet, read_wide_resnet
from tadfkd.errors import UserError, require_at_least
from tadfkd.utils.files import write_atomically

#: Mean and standard deviation in units of [0, 255], as in configs/_base_/.
STATISTICS: dict[str, tuple[list[float], list[float]]] = dict(
    cifar10=([125.307, 122.961, 113.857], [51.5865, 50.847, 51.255]),
    cifar100=([129.304, 124.07, 112.434], [68.17, 65.392, 70.418]))


def read_network(weights: Weights, image_size: int = 32) -> PublicNetwork:
    """Recognise the network in a public state dict.

    Args:
        weights: From :func:`source_weights`.
        image_size: Height and width of the network's images; it matters for
            VGGs with ``block0`` only.

    Raises:
        UserError: If the layout is unknown.
    """
    first = next(
        (weights[key]
         for key in ('conv1.weight', 'features.0.weight', 'block0.0.weight')
         if key in weights), None)
    numbers = [
        key for key, value in weights.items()
        if value.ndim == 0 and not key.endswith('num_batches_tracked')
    ]
    if first is None or first.ndim != 4 or numbers:
        raise unknown_layout(weights)
    if 'block1.layer.0.conv1.weight' in weights or is_wide_resnet(weights):
        return read_wide_resnet(weights)
    if 'layer1.0.conv1.weight' in weights:
        return read_resnet(weights)
    if weights.keys() & {'features.0.weight', 'block0.0.weight'}:
        return read_vgg(weights, image_size)
    raise unknown_layout(weights)


def convert(source: str | os.PathLike,
            destination: str | os.PathLike,
            mean: Sequence[float],
            std: Sequence[float],
            image_size: int = 32) -> PublicNetwork:
    """Write an mmpretrain checkpoint and a config of its model.

    Nothing is written unless every weight of the source has its place in the
    new network, and is finite.

    Args:
        source: A public checkpoint.
        destination: The new checkpoint; its config gets the suffix ``.py``.
        mean: The mean by which the network's inputs were normalised, per
            channel, in units of [0, 255]. The weights do not contain it.
        std: The standard deviation, likewise.
        image_size: Height and width of the network's images, >= 8.

    Returns:
        The network that was recognised in the source.

    Raises:
        UserError: If the source cannot be read, its layout is unknown, the
            weights are not finite, or a file exists already.
    """
    require_at_least('--image-size', 'image_size', image_size, 8)
    checkpoint = Path(destination)
    config = checkpoint.with_suffix('.py')
    for path in (checkpoint, config):
        if path.exists() or checkpoint == config:
            raise UserError(f'{path} exists or is the name of both files: '
                            'name a new .pth file')
    name = f'checkpoint {os.fspath(source)}'
    weights = source_weights(read_checkpoint(source), name)
    for key, value in weights.items():
        if not value.isfinite().all():
            raise UserError(f'{name} has a {key} that is not finite, so '
                            'nothing was written: convert another checkpoint')
    network = read_network(weights, image_size)
    model = network.model(*_statistics(mean, std, network.in_channels))
    classifier = build_classifier(model)
    load_weights(classifier, network.weights, name)
    content = dict(
        meta=dict(
            source=Path(source).name,
            layout=network.layout,
            architecture=network.architecture),
        # From the classifier, as old files lack batch norm's counters.
        state_dict={
            key: value.clone()
            for key, value in classifier.state_dict().items()
        })
    buffer = io.BytesIO()
    torch.save(content, buffer)
    text = _config_text(network, model, image_size, Path(source).name)
    write_atomically(config, text.encode())
    write_atomically(checkpoint, buffer.getvalue())
    return network


def _statistics(mean: Sequence[float], std: Sequence[float],
                in_channels: int) -> tuple[list[float], list[float]]:
    """Check mean and std: one number per channel, in units of [0, 255]."""
    for name, values in (('mean', mean), ('std', std)):
        if len(values) != in_channels or not all(map(math.isfinite, values)):
            raise UserError(f'{name} must be {in_channels} numbers, one for '
                            f'each input channel, got {[*values]}: change '
                            f'--{name}')
    if not 1 <= min(std) <= max(std) <= 255:
        raise UserError('std must be in units of [0, 255] and at least 1, got '
                        f'{[*std]}: multiply --mean and --std of images in '
                        '[0, 1] by 255')
    return [*mean], [*std]


def _config_text(network: PublicNetwork, model: dict, image_size: int,
                 name: str) -> str:
    config: dict = dict(model=model, input_size=image_size)
    if network.backbone['type'].startswith('tadfkd.'):
        config['custom_imports'] = dict(imports=['tadfkd.backbones'])
    return (f'# {network.architecture}, converted from {name!r}.\n'
            '# Its inputs are RGB.\n' + Config(config).pretty_text)
