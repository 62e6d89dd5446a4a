"""From images in [0, 1] to what a classifier was trained on."""
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tadfkd.errors import UserError
from tadfkd.utils.annotations import fits

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
        owner: Whose ``mean`` and ``std`` they are, for messages.
        grey_to_rgb: Whether a grey image may enter a network of several
            channels, as that many equal ones.
    """

    def __init__(self,
                 mean: Sequence[float],
                 std: Sequence[float],
                 channel_order: ChannelOrder = 'rgb',
                 input_size: tuple[int, int] | None = None,
                 owner: str = 'data_preprocessor',
                 grey_to_rgb: bool = False) -> None:
        super().__init__()
        if channel_order not in ('rgb', 'bgr'):
            raise UserError("channel_order must be 'rgb' or 'bgr', got "
                            f'{channel_order!r}: set channel_order')
        for name, values in dict(mean=mean, std=std).items():
            if not fits(values, Sequence[float]) or not values or \
                    name == 'std' and min(values) <= 0:
                above = ' > 0' if name == 'std' else ''
                raise UserError(f'{name} must be a finite number{above} for '
                                f'every channel, got {values}: set '
                                f'{owner}.{name}')
        self.channel_order = channel_order
        self.input_size = input_size
        self.owner = owner
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
                            f'images of {given}: set {self.owner}.mean and '
                            f'{self.owner}.std, or grey_to_rgb of a teacher '
                            'that is to see grey images')
        if self.channel_order == 'bgr':
            images_BCHW = images_BCHW.flip(1)
        return (images_BCHW - self.mean) / self.std
