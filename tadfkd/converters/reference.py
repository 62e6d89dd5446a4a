"""Logits straight from a public state dict, to compare conversions with.

There are no modules and no names of mmpretrain, only the keys of the source.
Strides, pooling and the epsilon of batch norm (1e-5) are those of the public
code, because weights do not contain them.

Every function takes the weights of the source and inputs_BCHW of the same
dtype, and returns logits_BK. Batch norm uses the running statistics.
"""
import itertools
import re

from torch import Tensor
from torch.nn import functional

from tadfkd.converters.source import Weights, head_of


def _conv(weights: Weights, name: str, x_BCHW: Tensor, stride: int) -> Tensor:
    weight = weights[f'{name}.weight']
    return functional.conv2d(
        x_BCHW,
        weight,
        weights.get(f'{name}.bias'),
        stride,
        padding=weight.shape[-1] // 2)


def _norm(weights: Weights, name: str, x_BCHW: Tensor) -> Tensor:
    return functional.batch_norm(
        x_BCHW,
        weights[f'{name}.running_mean'],
        weights[f'{name}.running_var'],
        weights[f'{name}.weight'],
        weights[f'{name}.bias'],
        eps=1e-5)


def _classify(weights: Weights, x_BCHW: Tensor) -> Tensor:
    head = head_of(weights)
    return functional.linear(
        x_BCHW.mean(dim=(2, 3)), weights[f'{head}.weight'],
        weights.get(f'{head}.bias'))


def _blocks(weights: Weights, template: str) -> list[tuple[str, int]]:
    """The names of all blocks in order, with their strides."""
    blocks = []
    for stage in range(1, 5):
        for index in itertools.count():
            name = template.format(stage, index)
            if f'{name}.conv1.weight' not in weights:
                break
            blocks.append((name, 2 if index == 0 and stage > 1 else 1))
    return blocks


def resnet_logits(weights: Weights, inputs_BCHW: Tensor) -> Tensor:
    """A ResNet of basic blocks or bottlenecks with a 3x3 stem."""
    x_BCHW = _norm(weights, 'bn1', _conv(weights, 'conv1', inputs_BCHW, 1))
    x_BCHW = x_BCHW.relu()
    for block, stride in _blocks(weights, 'layer{}.{}'):
        # The 3x3 convolution strides; in a bottleneck, it is the second.
        last = 3 if f'{block}.conv3.weight' in weights else 2
        out_BCHW = x_BCHW
        for number in range(1, last + 1):
            out_BCHW = _conv(weights, f'{block}.conv{number}', out_BCHW,
                             stride if number == last - 1 else 1)
            out_BCHW = _norm(weights, f'{block}.bn{number}', out_BCHW)
            if number < last:
                out_BCHW = out_BCHW.relu()
        for name in ('shortcut', 'downsample'):
            if f'{block}.{name}.0.weight' in weights:
                x_BCHW = _conv(weights, f'{block}.{name}.0', x_BCHW, stride)
                x_BCHW = _norm(weights, f'{block}.{name}.1', x_BCHW)
        x_BCHW = (out_BCHW + x_BCHW).relu()
    return _classify(weights, x_BCHW)


def wide_resnet_logits(weights: Weights, inputs_BCHW: Tensor) -> Tensor:
    """A WideResNet; blocks named ``layer`` project their raw input."""
    x_BCHW = _conv(weights, 'conv1', inputs_BCHW, 1)
    raw = 'layer1.0.conv1.weight' in weights
    template = 'layer{}.{}' if raw else 'block{}.layer.{}'
    for block, stride in _blocks(weights, template):
        first, second = (1, stride) if raw else (stride, 1)
        active_BCHW = _norm(weights, f'{block}.bn1', x_BCHW).relu()
        out_BCHW = _conv(weights, f'{block}.conv1', active_BCHW, first)
        out_BCHW = _norm(weights, f'{block}.bn2', out_BCHW).relu()
        out_BCHW = _conv(weights, f'{block}.conv2', out_BCHW, second)
        for name in ('convShortcut', 'shortcut.0', 'downsample.0'):
            if f'{block}.{name}.weight' in weights:
                x_BCHW = _conv(weights, f'{block}.{name}',
                               x_BCHW if raw else active_BCHW, stride)
        x_BCHW = out_BCHW + x_BCHW
    return _classify(weights, _norm(weights, 'bn1', x_BCHW).relu())


def vgg_logits(weights: Weights, inputs_BCHW: Tensor) -> Tensor:
    """A VGG with one ``features``, or with ``block0`` to ``block4``."""
    layers = sorted({
        (match[1], int(match[2]))
        for match in (re.match(r'(features|block\d)\.(\d+)\.', key)
                      for key in weights) if match
    })
    x_BCHW = inputs_BCHW
    for (folder, number), after in zip(layers, [*layers[1:], ('', 0)]):
        name = f'{folder}.{number}'
        if f'{name}.running_mean' in weights:
            x_BCHW = _norm(weights, name, x_BCHW)
        else:
            x_BCHW = _conv(weights, name, x_BCHW, 1)
        if after == (folder, number + 1):
            # Batch norm follows, then the ReLU.
            continue
        x_BCHW = x_BCHW.relu()
        if folder == 'features':
            # Pooling takes the number after the ReLU's, so it is missing.
            pools = after != (folder, number + 2)
        else:
            in_three = folder in ('block0', 'block1', 'block2')
            at_64 = folder == 'block3' and inputs_BCHW.shape[2] == 64
            pools = after[0] != folder and (in_three or at_64)
        if pools:
            x_BCHW = functional.max_pool2d(x_BCHW, 2)
    return _classify(weights, x_BCHW)
