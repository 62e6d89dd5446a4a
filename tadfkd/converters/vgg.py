"""Read VGGs with one linear layer, with or without batch norm."""
import re
from itertools import pairwise

import torch

from tadfkd.backbones import CIFARVGG
from tadfkd.converters.source import (HEAD_RULES, PublicNetwork, Weights,
                                      pooled_head, renamed)
from tadfkd.errors import UserError

WIDTHS = (64, 128, 256, 512, 512)


def read_vgg(weights: Weights, image_size: int) -> PublicNetwork:
    """A VGG named ``features.0, ..., classifier`` or ``block0.0, ...``.

    The layers of ``features`` are numbered with the pooling layers, so a gap
    in the numbers shows a pooling layer. The last stage ends in one too.
    Networks of ``block`` pool after their first three stages, and for 64x64
    pixels after the fourth; then they average the map.

    Args:
        weights: The weights of the source, without wrappers.
        image_size: Height and width of the network's images.

    Returns:
        The network, on mmpretrain's ``VGG`` or, for ``block``, on
        :class:`tadfkd.backbones.CIFARVGG`.

    Raises:
        UserError: If neither class has this VGG.
    """
    by_block = 'block0.0.weight' in weights
    convolutions = [
        key.removesuffix('.weight') for key, value in weights.items()
        if re.fullmatch(r'(features|block\d+)\.\d+\.weight', key)
        and value.ndim == 4
    ]
    stages = _stages(convolutions, with_norm=_has_norm(weights))
    depths = {
        blocks: depth
        for depth, blocks in CIFARVGG.arch_settings.items()
        # mmpretrain's VGG has no depth of 8.
        if by_block or depth > 8
    }
    depth = depths.get(tuple(len(stage) for stage in stages))
    widths = [[len(weights[f'{name}.weight']) for name in stage]
              for stage in stages]
    if depth is None or any(
            set(found) != {width} for found, width in zip(widths, WIDTHS)):
        raise UserError(
            f'the VGG must be of depth {", ".join(map(str, depths.values()))} '
            f'and of widths {WIDTHS}, got stages of {widths} between pooling '
            'layers: convert another teacher')
    if not by_block and image_size < 32:
        raise UserError('image_size must be at least 32 for a VGG that pools '
                        f'five times, got {image_size}: change --image-size')
    in_channels = weights[f'{stages[0][0]}.weight'].shape[1]
    head, num_classes = pooled_head(weights, WIDTHS[-1])
    with_norm = _has_norm(weights)
    name = f'VGG-{depth}' + (' with batch norm' if with_norm else '')
    backbone: dict = dict(type='VGG', depth=depth)
    if by_block:
        backbone = dict(
            type='tadfkd.CIFARVGG',
            depth=depth,
            pooled_stages=(0, 1, 2, 3) if image_size == 64 else (0, 1, 2))
    if with_norm:
        backbone['norm_cfg'] = dict(type='BN')
    return PublicNetwork(
        architecture=name,
        layout=f'{stages[0][0]}, {stages[-1][-1]}, {head}',
        in_channels=in_channels,
        num_classes=num_classes,
        features=WIDTHS[-1],
        backbone=backbone,
        weights=_with_biases(
            renamed(weights, _rules(stages, with_norm), name)))


def _has_norm(weights: Weights) -> bool:
    return any(key.endswith('.running_mean') for key in weights)


def _stages(convolutions: list[str], with_norm: bool) -> list[list[str]]:
    """Groups of convolutions between pooling layers, by their numbers."""
    order = sorted(
        convolutions,
        key=lambda name: [int(number) for number in re.findall(r'\d+', name)])
    stages = [order[:1]]
    # A convolution, batch norm if there is any, and a ReLU.
    unit = 3 if with_norm else 2
    for before, name in pairwise(order):
        stage_before, number_before = before.split('.')
        stage, number = name.split('.')
        between = int(number) - int(number_before) - unit
        if stage != stage_before or between == 1:
            stages.append([name])
        elif between == 0:
            stages[-1].append(name)
        else:
            raise UserError(
                f'the layers of a VGG must be convolution, '
                f'{"batch norm, " * with_norm}ReLU and pooling, got other '
                f'ones between {before} and {name}: convert another teacher')
    return stages


def _rules(stages: list[list[str]], with_norm: bool) -> dict[str, str]:
    """mmpretrain numbers a convolution, its norm and ReLU as one layer."""
    rules = dict(HEAD_RULES)
    layer = 0
    for stage in stages:
        for name in stage:
            folder, number = name.split('.')
            target = f'backbone.features.{layer}'
            rules[re.escape(name)] = f'{target}.conv'
            if with_norm:
                rules[re.escape(
                    f'{folder}.{int(number) + 1}')] = f'{target}.bn'
            layer += 1
        layer += 1
    return rules


def _with_biases(weights: dict) -> dict:
    """Add zero biases, as mmpretrain's convolutions always have a bias."""
    return {
        key.replace('.conv.weight', '.conv.bias'): torch.zeros(len(value))
        for key, value in weights.items() if key.endswith('.conv.weight')
    } | weights
