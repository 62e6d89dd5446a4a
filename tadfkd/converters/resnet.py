"""Read ResNets of CIFAR teachers: a 3x3 stem and four stages."""
from tadfkd.converters.source import (HEAD_RULES, PublicNetwork, Weights,
                                      count_blocks, pooled_head, renamed)
from tadfkd.errors import UserError

#: (blocks per stage, convolutions per block) -> depth, as in mmpretrain.
DEPTHS: dict[tuple[tuple[int, ...], int], int] = {
    ((2, 2, 2, 2), 2): 18,
    ((3, 4, 6, 3), 2): 34,
    ((3, 4, 6, 3), 3): 50,
    ((3, 4, 23, 3), 3): 101,
    ((3, 8, 36, 3), 3): 152,
}
RULES = {
    r'conv1|bn1': r'backbone.\g<0>',
    r'layer[1-4]\.\d+\.(conv|bn)[123]': r'backbone.\g<0>',
    r'(layer[1-4]\.\d+)\.(?:shortcut|downsample)\.([01])':
    r'backbone.\1.downsample.\2',
    **HEAD_RULES,
}


def read_resnet(weights: Weights) -> PublicNetwork:
    """A ResNet named ``conv1, bn1, layer1.0.conv1, ...``.

    The projections are named ``shortcut`` or ``downsample``.

    Args:
        weights: The weights of the source, without wrappers.

    Returns:
        The network, on mmpretrain's ``ResNet_CIFAR``.

    Raises:
        UserError: If mmpretrain does not have this ResNet.
    """
    blocks = count_blocks(weights, r'layer(\d+)\.(\d+)\.conv1\.weight')
    convolutions = 3 if 'layer1.0.conv3.weight' in weights else 2
    depth = DEPTHS.get((blocks, convolutions))
    if depth is None:
        raise UserError(
            'the ResNet must be of depth '
            f'{", ".join(map(str, DEPTHS.values()))}, got stages of '
            f'{", ".join(map(str, blocks))} blocks of {convolutions} '
            "convolutions, which mmpretrain's ResNet_CIFAR does not have "
            '(nor the three-stage ResNet-20, -32 and -56 of CIFAR papers): '
            'convert another teacher')
    stem, in_channels = weights['conv1.weight'].shape[:2]
    base = weights['layer1.0.conv1.weight'].shape[0]
    head, num_classes = pooled_head(weights,
                                    8 * base * (4 if convolutions == 3 else 1))
    return PublicNetwork(
        architecture=f'ResNet-{depth}',
        layout=f'conv1, layer1.0.conv1, {head}',
        in_channels=in_channels,
        num_classes=num_classes,
        features=weights[f'{head}.weight'].shape[1],
        backbone=dict(
            type='ResNet_CIFAR',
            depth=depth,
            in_channels=in_channels,
            stem_channels=stem,
            base_channels=base,
            num_stages=4,
            out_indices=(3, ),
            style='pytorch'),
        weights=renamed(weights, RULES, f'ResNet-{depth}'))
