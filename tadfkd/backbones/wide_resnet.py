"""Wide residual networks for small images."""
from typing import Literal

from mmengine.model import BaseModule
from torch import Tensor, nn

from tadfkd.errors import UserError, require_at_least, require_choice
from tadfkd.registry import MODELS

Transition = Literal['activated', 'input']


class _Block(nn.Module):
    """Two 3x3 convolutions, each after batch norm and ReLU, and a shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int,
                 dropout: float, conv_bias: bool,
                 transition: Transition) -> None:
        super().__init__()
        self.projects_activation = transition == 'activated'
        strides = (stride, 1) if self.projects_activation else (1, stride)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(
            in_channels, channels, 3, strides[0], 1, bias=conv_bias)
        self.bn2 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(
            channels, channels, 3, strides[1], 1, bias=conv_bias)
        self.shortcut = None if stride == 1 and in_channels == channels \
            else nn.Conv2d(in_channels, channels, 1, stride, bias=conv_bias)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        activated_BCHW = self.bn1(x_BCHW).relu()
        out_BCHW = self.bn2(self.conv1(activated_BCHW)).relu()
        out_BCHW = self.conv2(self.dropout(out_BCHW))
        if self.shortcut is not None:
            x_BCHW = self.shortcut(
                activated_BCHW if self.projects_activation else x_BCHW)
        return out_BCHW + x_BCHW


@MODELS.register_module()
class WideResNet(BaseModule):
    """WRN-d-k: three stages of pre-activated blocks, then BN and ReLU::

        Conv3x3(C -> 16)
        n blocks of 16k channels
        n blocks of 32k, the first at stride 2
        n blocks of 64k, the first at stride 2
        BN - ReLU                                       n = (d - 4) / 6

    For mmpretrain's ``ImageClassifier``: a ``GlobalAveragePooling`` neck and
    a ``LinearClsHead`` of ``in_channels=64 * widen_factor`` follow.

    Source: Zagoruyko and Komodakis 2016, arXiv 1605.07146.

    Args:
        depth: d = 6n + 4: 10, 16, 22, 28, 34, 40 and so on.
        widen_factor: k, >= 1.
        in_channels: C of the images, >= 1.
        stem_channels: Output channels of the first convolution.
        dropout: Probability between a block's two convolutions, in [0, 1].
        conv_bias: Whether convolutions have a bias. Those of the paper have
            none; those of a widely used reimplementation do.
        transition: How a stage begins. ``'activated'`` is the paper's code:
            the first convolution has the stride, and the 1x1 shortcut takes
            the input after batch norm and ReLU. ``'input'`` is the
            reimplementation: the second convolution has the stride, and the
            shortcut takes the raw input.
        init_cfg: See mmengine's ``BaseModule``; None is He initialisation.

    Raises:
        UserError: If a value is not allowed.
    """

    def __init__(self,
                 depth: int,
                 widen_factor: int,
                 in_channels: int = 3,
                 stem_channels: int = 16,
                 dropout: float = 0.0,
                 conv_bias: bool = False,
                 transition: Transition = 'activated',
                 init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg or [
            dict(type='Kaiming', layer='Conv2d'),
            dict(type='Constant', val=1.0, bias=0.0, layer='_BatchNorm')
        ])
        if depth < 10 or (depth - 4) % 6:
            raise UserError('depth must be 6n + 4 (10, 16, 22, 28, 34, 40 and '
                            f'so on), got {depth}: set backbone.depth')
        require_at_least('backbone', 'widen_factor', widen_factor, 1)
        require_choice('backbone', 'transition', transition,
                       ('activated', 'input'))
        self.conv1 = nn.Conv2d(
            in_channels, stem_channels, 3, padding=1, bias=conv_bias)
        channels = stem_channels
        stages: list[nn.Module] = []
        for stage, stride in enumerate((1, 2, 2)):
            blocks = []
            width = 16 * 2**stage * widen_factor
            for index in range((depth - 4) // 6):
                blocks.append(
                    _Block(channels, width, 1 if index else stride, dropout,
                           conv_bias, transition))
                channels = width
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3 = stages
        self.bn1 = nn.BatchNorm2d(channels)

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor]:
        """The last feature map, activated.

        Args:
            x_BCHW: Normalised images.

        Returns:
            One (B, 64k, H/4, W/4) tensor in a tuple, as mmpretrain's
            backbones return it.
        """
        x_BCHW = self.conv1(x_BCHW)
        for stage in (self.layer1, self.layer2, self.layer3):
            x_BCHW = stage(x_BCHW)
        return (self.bn1(x_BCHW).relu(), )
