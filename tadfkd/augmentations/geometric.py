"""Differentiable crops, shifts and flips of image batches."""
import torch
from torch import Tensor, nn
from torch.nn import functional

from tadfkd.errors import UserError, require_at_least
from tadfkd.registry import MODELS


def _require_probability(owner: str, flip_probability: float) -> None:
    if not 0 <= flip_probability <= 1:
        raise UserError('flip_probability must be in [0, 1], got '
                        f'{flip_probability!r}: set '
                        f'{owner}.flip_probability')


@MODELS.register_module()
class RandomCropFlip(nn.Module):
    """Random crop of the zero-padded image, and random horizontal flip.

    Every sample has its own offset and flip, and gradients reach the input.
    torchvision's transforms do not fit here: they draw one offset per batch,
    and they draw it from the global generator.

    Args:
        padding: Pixels added on each side before cropping back to the input
            size, >= 0. The border is 0 (black), as in the usual training of
            CIFAR classifiers.
        flip_probability: In [0, 1].

    Example:
        >>> augment = RandomCropFlip(padding=4)
        >>> augment(torch.rand(8, 3, 32, 32), torch.Generator()).shape
        torch.Size([8, 3, 32, 32])
    """

    def __init__(self, padding: int, flip_probability: float = 0.5) -> None:
        super().__init__()
        require_at_least('the RandomCropFlip', 'padding', padding, 0)
        _require_probability('the RandomCropFlip', flip_probability)
        self.padding = padding
        self.flip_probability = flip_probability

    def forward(self, images_BCHW: Tensor, stream: torch.Generator) -> Tensor:
        """Augment a batch.

        Args:
            images_BCHW: Float images, any range; the padding is 0.
            stream: Source of the offsets and flips, on the images' device.

        Returns:
            Images of the same shape.
        """
        batch, channels, height, width = images_BCHW.shape
        device = images_BCHW.device
        pad = self.padding

        def offsets_B1() -> Tensor:
            return torch.randint(
                2 * pad + 1, (batch, 1), generator=stream, device=device)

        rows_BH = torch.arange(height, device=device) + offsets_B1()
        columns_BW = torch.arange(width, device=device).expand(batch, -1)
        flip_B1 = torch.rand(
            batch, 1, generator=stream, device=device) < self.flip_probability
        columns_BW = torch.where(flip_B1, columns_BW.flip(1), columns_BW)
        columns_BW = columns_BW + offsets_B1()
        # One gather serves crop and flip; its backward is one scatter.
        index_BHW = (rows_BH * (width + 2 * pad))[:, :, None] \
            + columns_BW[:, None, :]
        padded = functional.pad(images_BCHW, (pad, pad, pad, pad)).flatten(2)
        index = index_BHW.flatten(1)[:, None].expand(-1, channels, -1)
        return padded.gather(2, index).view(images_BCHW.shape)


@MODELS.register_module()
class RandomShift(nn.Module):
    """Cyclic shift of each sample: pixels that leave on one side enter on
    the other. The jitter of arXiv 1912.08795.

    Args:
        max_pixels: Largest shift in each direction, >= 0.

    Example:
        >>> augment = RandomShift(max_pixels=2)
        >>> augment(torch.rand(8, 3, 32, 32), torch.Generator()).shape
        torch.Size([8, 3, 32, 32])
    """

    def __init__(self, max_pixels: int) -> None:
        super().__init__()
        require_at_least('the RandomShift', 'max_pixels', max_pixels, 0)
        self.max_pixels = max_pixels

    def forward(self, images_BCHW: Tensor, stream: torch.Generator) -> Tensor:
        """See :meth:`RandomCropFlip.forward`."""
        batch, channels, height, width = images_BCHW.shape
        device = images_BCHW.device

        def places(size: int) -> Tensor:
            shifts_B1 = torch.randint(
                -self.max_pixels,
                self.max_pixels + 1, (batch, 1),
                generator=stream,
                device=device)
            return (torch.arange(size, device=device) + shifts_B1) % size

        index_BHW = places(height)[:, :, None] * width \
            + places(width)[:, None, :]
        index = index_BHW.flatten(1)[:, None].expand(-1, channels, -1)
        return images_BCHW.flatten(2).gather(2, index).view(images_BCHW.shape)


@MODELS.register_module()
class RandomResizedCropFlip(nn.Module):
    """Random crop, resized to the image's size, and random horizontal flip.

    Every sample has its own crop and flip, and gradients reach the input. The
    crop has the aspect ratio of the image.

    Args:
        scale: Bounds of the crop's area as a fraction of the image's, in
            (0, 1].
        flip_probability: In [0, 1].

    Example:
        >>> augment = RandomResizedCropFlip(scale=(0.25, 1.0))
        >>> augment(torch.rand(8, 3, 32, 32), torch.Generator()).shape
        torch.Size([8, 3, 32, 32])
    """

    def __init__(self,
                 scale: tuple[float, float],
                 flip_probability: float = 0.5) -> None:
        super().__init__()
        if not 0 < scale[0] <= scale[1] <= 1:
            raise UserError('scale must be (low, high) with 0 < low <= high '
                            f'<= 1, got {scale!r}: set scale of the '
                            'RandomResizedCropFlip')
        _require_probability('the RandomResizedCropFlip', flip_probability)
        self.scale = scale
        self.flip_probability = flip_probability

    def forward(self, images_BCHW: Tensor, stream: torch.Generator) -> Tensor:
        """See :meth:`RandomCropFlip.forward`."""
        batch, device = len(images_BCHW), images_BCHW.device
        random_4B = torch.rand(4, batch, generator=stream, device=device)
        low, high = self.scale
        side_B = (low + (high - low) * random_4B[0]).sqrt()
        # Centres in [-1, 1] that keep the crop inside the image.
        centre_2B = (1 - side_B) * (2 * random_4B[1:3] - 1)
        flip_B = random_4B[3] < self.flip_probability
        transform_B23 = images_BCHW.new_zeros(batch, 2, 3)
        transform_B23[:, 0, 0] = torch.where(flip_B, -side_B, side_B)
        transform_B23[:, 1, 1] = side_B
        transform_B23[:, :, 2] = centre_2B.T
        grid = functional.affine_grid(
            transform_B23, list(images_BCHW.shape), align_corners=False)
        return functional.grid_sample(
            images_BCHW, grid, padding_mode='border', align_corners=False)


@MODELS.register_module()
class RandomShiftScale(nn.Module):
    """Random shift and zoom of each sample, which rarely change its class.

    Every sample has its own shift and zoom, and gradients reach the input.
    What enters at the border is the image's border, repeated.

    Args:
        shift: Largest shift in each direction as a fraction of the image's
            size, in [0, 1).
        scale: Largest change of size as a fraction, in [0, 1).
        flip_probability: Of a horizontal flip, in [0, 1].

    Example:
        >>> augment = RandomShiftScale(shift=0.125, scale=0.15)
        >>> augment(torch.rand(8, 3, 32, 32), torch.Generator()).shape
        torch.Size([8, 3, 32, 32])
    """

    def __init__(self,
                 shift: float,
                 scale: float,
                 flip_probability: float = 0.0) -> None:
        super().__init__()
        for name, value in dict(shift=shift, scale=scale).items():
            if not 0 <= value < 1:
                raise UserError(f'{name} must be in [0, 1), got {value!r}: '
                                f'set {name} of the RandomShiftScale')
        _require_probability('the RandomShiftScale', flip_probability)
        self.shift = shift
        self.scale = scale
        self.flip_probability = flip_probability

    def forward(self, images_BCHW: Tensor, stream: torch.Generator) -> Tensor:
        """See :meth:`RandomCropFlip.forward`."""
        batch, device = len(images_BCHW), images_BCHW.device
        random_4B = torch.rand(4, batch, generator=stream, device=device)
        # Of the part of the image that is seen, so that an image grows and
        # shrinks by equal factors.
        side_B = (1 + self.scale)**(2 * random_4B[0] - 1)
        flip_B = random_4B[3] < self.flip_probability
        transform_B23 = images_BCHW.new_zeros(batch, 2, 3)
        transform_B23[:, 0, 0] = torch.where(flip_B, -side_B, side_B)
        transform_B23[:, 1, 1] = side_B
        # affine_grid has a width of 2.
        transform_B23[:, :, 2] = 2 * self.shift * (2 * random_4B[1:3] - 1).T
        grid = functional.affine_grid(
            transform_B23, list(images_BCHW.shape), align_corners=False)
        return functional.grid_sample(
            images_BCHW, grid, padding_mode='border', align_corners=False)
