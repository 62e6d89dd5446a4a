"""Differentiable augmentation of image batches."""
import torch
from torch import Tensor, nn
from torch.nn import functional

from tadfkd.registry import MODELS
from tadfkd.utils.errors import UserError, require_at_least


@MODELS.register_module()
class RandomCropFlip(nn.Module):
    """Random crop of the zero-padded image, and random horizontal flip.

    Every sample has its own offset and flip; gradients reach the input.
    torchvision's transforms draw one offset for a whole batch and from the
    global generator, so they serve for neither.

    Args:
        padding: Pixels added on each side before cropping back to the input
            size, >= 0. The border is 0 (black), as in the usual training of
            CIFAR classifiers.
        flip_probability: In [0, 1].
    """

    def __init__(self,
                 padding: int = 4,
                 flip_probability: float = 0.5) -> None:
        super().__init__()
        require_at_least('model.augment', 'padding', padding, 0)
        if not 0 <= flip_probability <= 1:
            raise UserError('flip_probability must be in [0, 1], got '
                            f'{flip_probability!r}: set '
                            'model.augment.flip_probability')
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
