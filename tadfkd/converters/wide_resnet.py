"""Read WideResNets in their two public layouts."""
from tadfkd.converters.source import (HEAD_RULES, PublicNetwork, Weights,
                                      count_blocks, pooled_head, renamed)
from tadfkd.errors import UserError

_BLOCK = r'(?:block([123])\.layer|layer([123]))\.(\d+)\.'
RULES = {
    r'conv1|bn1': r'backbone.\g<0>',
    _BLOCK + r'((?:conv|bn)[12])': r'backbone.layer\1\2.\3.\4',
    _BLOCK + r'(?:convShortcut|shortcut\.0|downsample\.0)':
    r'backbone.layer\1\2.\3.shortcut',
    **HEAD_RULES,
}


def is_wide_resnet(weights: Weights) -> bool:
    """Whether a state dict with ``layer1.0.conv1`` is a WideResNet.

    Its ``bn1`` follows the last stage and has the width of that stage. The
    ``bn1`` of a ResNet follows ``conv1``.
    """
    keys = 'conv1.weight', 'bn1.weight', 'layer3.0.conv1.weight'
    if any(key not in weights for key in keys):
        return False
    return len(weights['bn1.weight']) != weights['conv1.weight'].shape[0]


def read_wide_resnet(weights: Weights) -> PublicNetwork:
    """A WideResNet named ``block1.layer.0.conv1`` or ``layer1.0.conv1``.

    The two layouts differ in more than names. Blocks named ``layer`` have the
    stride in the second convolution, project their input before batch norm,
    and may have biases: see ``transition`` of
    :class:`tadfkd.backbones.WideResNet`.

    Args:
        weights: The weights of the source, without wrappers.

    Returns:
        The network, on :class:`tadfkd.backbones.WideResNet`.

    Raises:
        UserError: If it is not a WideResNet of three equal stages.
    """
    by_block = 'block1.layer.0.conv1.weight' in weights
    first = 'block1.layer.0' if by_block else 'layer1.0'
    if 'bn1.weight' not in weights:
        raise UserError('a WideResNet must have bn1.weight, got a network '
                        'without it: convert one with a bn1 before the '
                        'classifier')
    blocks = count_blocks(
        weights, r'(?:block|layer)(\d+)(?:\.layer)?\.(\d+)\.conv1\.weight')
    channels = len(weights['bn1.weight'])
    if len(blocks) != 3 or len(set(blocks)) != 1 or channels % 64:
        raise UserError('a WideResNet must have three stages of the same '
                        'number of blocks and a multiple of 64 channels at '
                        f'the end, got {", ".join(map(str, blocks))} blocks '
                        f'and {channels} channels: convert such a network')
    depth, factor = 6 * blocks[0] + 4, channels // 64
    stem, in_channels = weights['conv1.weight'].shape[:2]
    head, num_classes = pooled_head(weights, channels)
    return PublicNetwork(
        architecture=f'WRN-{depth}-{factor}',
        layout=f'conv1, {first}.conv1, bn1, {head}',
        in_channels=in_channels,
        num_classes=num_classes,
        features=channels,
        backbone=dict(
            type='tadfkd.WideResNet',
            depth=depth,
            widen_factor=factor,
            in_channels=in_channels,
            stem_channels=stem,
            conv_bias='conv1.bias' in weights,
            transition='activated' if by_block else 'input'),
        weights=renamed(weights, RULES, f'WRN-{depth}-{factor}'))
