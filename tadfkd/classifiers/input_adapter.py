"""From images in [0, 1] to the input of a classifier."""
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tadfkd.errors import UserError, require_at_least
from tadfkd.utils.annotations import fits

ChannelOrder = Literal['rgb', 'bgr']
Values = Sequence[float] | None


def in_255(where: str, mean: Values, std: Values,
           value_range: float) -> tuple[Values, Values]:
    """Mean and standard deviation in units of [0, 255].

    Args:
        where: Config path of their owner, for messages.
        mean: Per channel, in units of [0, ``value_range``].
        std: Likewise.
        value_range: White in these units, >= 0.001.

    Raises:
        UserError: If there is another range than 255 and nothing to convert.

    Example:
        >>> in_255('model.teacher', [0.5], [0.25], 1)
        ([127.5], [63.75])
    """
    require_at_least(where, 'value_range', value_range, 1e-3)
    if value_range == 255:
        return mean, std
    if mean is None or std is None:
        raise UserError('value_range says in which units mean and std are: '
                        f'set {where}.mean and {where}.std too')
    scale = 255 / value_range
    return [scale * value for value in mean], [scale * value for value in std]


class InputAdapter(nn.Module):
    """Maps RGB images in [0, 1] to the input that a network was trained on.

    It resizes, orders the channels, subtracts the mean and divides by the
    standard deviation. All steps are differentiable.

    Args:
        mean: Per channel, in units of [0, 255], in the network's order.
        std: Likewise, > 0.
        channel_order: ``'rgb'`` or ``'bgr'``, what the network expects.
        input_size: Height and width that images are resized to (bilinear,
            antialiased); None leaves them as they are.
        owner: The config path of ``mean`` and ``std``, for messages.
        grey_to_rgb: Whether a network of several channels may take grey
            images, as equal channels.

    Raises:
        UserError: If ``mean`` or ``std`` is not one finite number per channel.
    """

    def __init__(self,
                 mean: Sequence[float],
                 std: Sequence[float],
                 channel_order: ChannelOrder = 'rgb',
                 input_size: tuple[int, int] | None = None,
                 owner: str = 'data_preprocessor',
                 grey_to_rgb: bool = False) -> None:
        super().__init__()
        for name, values in dict(mean=mean, std=std).items():
            if not fits(values, Sequence[float]) or not values or \
                    name == 'std' and min(values) <= 0:
                above = ' > 0' if name == 'std' else ''
                raise UserError(f'{name} must be one finite number{above} '
                                f'per channel, got {values}: set '
                                f'{owner}.{name}')
        self.channel_order = channel_order
        self.input_size = input_size
        self.owner = owner
        self.grey_to_rgb = grey_to_rgb
        self.mean_255, self.std_255 = [*mean], [*std]
        self.mean: Tensor
        self.std: Tensor
        # Not persistent, because they belong to the config.
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
        return self.normalize(self.resize(images_BCHW))

    def resize(self, images_BCHW: Tensor) -> Tensor:
        """Resize images to ``input_size``, if there is one."""
        size = self.input_size
        if size is None or size == images_BCHW.shape[-2:]:
            return images_BCHW
        return functional.interpolate(
            images_BCHW,
            size,
            mode='bilinear',
            align_corners=False,
            antialias=True)

    def normalize(self, images_BCHW: Tensor) -> Tensor:
        """Order the channels, subtract the mean, divide by the deviation.

        Raises:
            UserError: If the images have another number of channels.
        """
        # One mean applies to all channels. Several means broadcast a grey
        # image to several channels, which only grey_to_rgb allows.
        channels, given = len(self.mean), images_BCHW.shape[1]
        repeats = self.grey_to_rgb and given == 1
        if channels not in (1, given) and not repeats:
            raise UserError(f'mean and std are for {channels} channels, got '
                            f'images of {given}: set {self.owner}.mean and '
                            f'{self.owner}.std, or grey_to_rgb=True of a '
                            'teacher for grey images')
        if self.channel_order == 'bgr':
            images_BCHW = images_BCHW.flip(1)
        return (images_BCHW - self.mean) / self.std

    def rgb_statistics(self, channels: int) -> tuple[Tensor, Tensor]:
        """mean_C and std_C of an image's channels, in units of [0, 1].

        :meth:`normalize` maps ``mean + std * x`` to x, in the network's order
        of channels. A network that takes a grey image as several equal
        channels has no such inverse; then these are the averages.

        Args:
            channels: 1, or 3 for RGB.
        """
        mean, std = self.mean.flatten(), self.std.flatten()
        if channels == 1:
            return mean.mean(0, True), std.mean(0, True)
        if self.channel_order == 'bgr':
            mean, std = mean.flip(0), std.flip(0)
        return mean.expand(channels), std.expand(channels)
