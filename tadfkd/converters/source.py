"""Unwrap a public state dict and rename its keys."""
import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from tadfkd.checkpoints.weights import find_weights
from tadfkd.errors import UserError

Weights = Mapping[str, Tensor]
#: Patterns of module names in the source -> names in mmpretrain.
Rules = Mapping[str, str]

LAYOUTS = ('ResNet and WideResNet with conv1, bn1, layer1.0.conv1, ..., '
           'WideResNet with block1.layer.0.conv1, and VGG with features.0 or '
           'block0.0, each with one linear layer at the end')
HEADS = ('linear', 'fc', 'classifier')
HEAD_RULES = {'|'.join(HEADS): 'head.fc'}


@dataclass(frozen=True)
class PublicNetwork:
    """The network in a public state dict.

    Attributes:
        architecture: A name for people, such as ``'ResNet-34'``.
        layout: The keys by which the network was recognised.
        in_channels: C of the images.
        num_classes: K.
        features: F, the input size of the linear classifier.
        backbone: Config of the mmpretrain backbone.
        weights: In float32, with the names of an mmpretrain classifier.
    """
    architecture: str
    layout: str
    in_channels: int
    num_classes: int
    features: int
    backbone: dict
    weights: dict[str, Tensor]

    def model(self, mean: list[float], std: list[float]) -> dict:
        """The model dict of an mmpretrain classifier.

        Args:
            mean: Per channel, in units of [0, 255].
            std: Likewise.
        """
        return dict(
            type='ImageClassifier',
            backbone=self.backbone,
            neck=dict(type='GlobalAveragePooling'),
            head=dict(
                type='LinearClsHead',
                num_classes=self.num_classes,
                in_channels=self.features,
                loss=dict(type='CrossEntropyLoss')),
            data_preprocessor=dict(mean=mean, std=std, to_rgb=False))


def source_weights(checkpoint: Mapping, name: str) -> dict[str, Tensor]:
    """The state dict in a checkpoint, in float32.

    :func:`~tadfkd.checkpoints.weights.find_weights` searches for it. A prefix
    ``module.`` of all keys is removed.

    Args:
        checkpoint: The dictionary in the file.
        name: The file, for messages.

    Raises:
        UserError: If it does not hold named tensors only.
    """
    weights, _ = find_weights(checkpoint, (), name)
    prefix = 'module.'
    if not all(key.startswith(prefix) for key in weights):
        prefix = ''
    return {
        key.removeprefix(prefix):
        value.float() if value.is_floating_point() else value
        for key, value in weights.items()
    }


def pooled_head(weights: Weights, channels: int) -> tuple[str, int]:
    """The name and class count of a classifier after global pooling.

    Args:
        weights: The weights of the source.
        channels: Channels of the last feature map.

    Raises:
        UserError: If there is not exactly one linear classifier, or if it
            does not take one number per channel.
    """
    found = [
        name for name in HEADS
        if f'{name}.weight' in weights and weights[f'{name}.weight'].ndim == 2
    ]
    if len(found) != 1:
        raise UserError(
            f'the state dict must have one linear classifier named '
            f'{", ".join(HEADS[:-1])} or {HEADS[-1]}, got {len(found)} (its '
            f'last keys are {", ".join([*weights][-3:])}): convert a network '
            'with a single linear layer at the end')
    head = found[0]
    num_classes, features = weights[f'{head}.weight'].shape
    if features != channels:
        raise UserError(
            f'the classifier {head} must take the {channels} averaged '
            f'channels of the last feature map, got {features} inputs: '
            'convert a network that ends in global pooling')
    return head, num_classes


def count_blocks(weights: Weights, pattern: str) -> tuple[int, ...]:
    """The number of blocks per stage, for all stages that match.

    The pattern has two groups: the numbers of the stage and of the block.
    """
    blocks: dict[int, set[int]] = {}
    for key in weights:
        match = re.match(pattern, key)
        if match:
            blocks.setdefault(int(match[1]), set()).add(int(match[2]))
    return tuple(len(blocks[stage]) for stage in sorted(blocks))


def renamed(weights: Weights, rules: Rules, what: str) -> dict[str, Tensor]:
    """The same tensors under other names.

    Args:
        weights: The weights of the source.
        rules: Tried in order on the part of a key before its last dot.
        what: The recognised network, for the message.

    Raises:
        UserError: If no rule matches a key, or two keys get the same name.
    """
    result: dict[str, Tensor] = {}
    unknown = []
    for key, value in weights.items():
        module, _, leaf = key.rpartition('.')
        for pattern, name in rules.items():
            match = re.fullmatch(pattern, module)
            if match:
                new = f'{match.expand(name)}.{leaf}'
                break
        else:
            new = ''
        if new and new not in result:
            result[new] = value
        else:
            unknown.append(key)
    if unknown:
        raise UserError(f'the state dict looks like a {what}, which has no '
                        f'{_shown(unknown)}: convert one of the known layouts '
                        f'({LAYOUTS})')
    return result


def _shown(keys: list[str]) -> str:
    """The first three keys, for a message."""
    return ', '.join(keys[:3]) + (', ...' if len(keys) > 3 else '')


def unknown_layout(weights: Weights) -> UserError:
    """The error for a state dict of an unknown layout."""
    return UserError(f'the state dict begins with {_shown([*weights])}, whose '
                     'layout is unknown: convert one of the known layouts '
                     f'({LAYOUTS})')
