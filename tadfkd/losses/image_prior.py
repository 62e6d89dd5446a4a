"""What natural images look like: small, smooth, as bright as the data."""
from typing import Literal

import torch
from mmengine.dist import get_world_size
from torch import Tensor

from tadfkd.distributed.reductions import global_mean, global_moments
from tadfkd.errors import UserError
from tadfkd.losses.base_loss import ImageLoss
from tadfkd.registry import MODELS

Over = Literal['sample', 'batch']


class _ImageNormLoss(ImageLoss):
    """An L2 norm of images, or of differences between their pixels.

    Args:
        over: ``'sample'`` takes the norm of each sample and averages, so the
            weight does not depend on the batch size; ``'batch'`` takes one
            norm of the whole batch (that of all processes), as public code
            does. The latter grows with the square root of the batch size: w
            over a batch of B acts like w sqrt(B) over samples.
        loss_weight: See :class:`BaseLoss`.
    """

    def __init__(self,
                 over: Over = 'sample',
                 loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        if over not in ('sample', 'batch'):
            raise UserError("over must be 'sample' or 'batch', got "
                            f'{over!r}: set over of the '
                            f'{type(self).__name__}')
        self.over = over

    def _norm(self, values_BCHW: Tensor) -> Tensor:
        values_BCHW = values_BCHW.float()
        if self.over == 'batch':
            norm = torch.linalg.vector_norm(values_BCHW)
            processes = get_world_size()
            return norm if processes == 1 else (
                processes * global_mean(norm.square(), 1)).sqrt()
        return torch.linalg.vector_norm(values_BCHW.flatten(1), dim=1).mean()


@MODELS.register_module()
class ImageL2Loss(_ImageNormLoss):
    """||x||_2."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """The norm, >= 0."""
        return self.loss_weight * self._norm(images_BCHW)


@MODELS.register_module()
class TotalVariationLoss(_ImageNormLoss):
    """L2 norms of the differences to four neighbours, summed.

    The neighbours are right, below and on both diagonals, as in
    arXiv 1912.08795.
    """

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """The sum of the four norms, >= 0."""
        x = images_BCHW
        differences = (x[:, :, :, :-1] - x[:, :, :, 1:],
                       x[:, :, :-1, :] - x[:, :, 1:, :],
                       x[:, :, :-1, :-1] - x[:, :, 1:, 1:],
                       x[:, :, 1:, :-1] - x[:, :, :-1, 1:])
        norms = [self._norm(difference) for difference in differences]
        return self.loss_weight * torch.stack(norms).sum()


@MODELS.register_module()
class PixelStatisticsLoss(ImageLoss):
    """||mu||_2 + ||var - 1||_2 over the channels of normalised images.

    The mean and the deviation that a teacher normalises its input with are
    those of the pixels of its training data; mu and var are what is left of
    them in a batch. This is
    :class:`~tadfkd.losses.BNStatisticsLoss` of a batch norm before the first
    layer, and so it also exists for teachers that have none inside. Our own
    addition, of no paper. It is for ``image_terms_on='normalized'``.
    """

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """The distance, >= 0, of a batch of normalised images."""
        variance_C, mean_C = torch.var_mean(
            images_BCHW.float(), dim=(0, 2, 3), unbiased=False)
        mean_C, variance_C = global_moments(mean_C, variance_C,
                                            len(images_BCHW))
        return self.loss_weight * (
            torch.linalg.vector_norm(mean_C) +
            torch.linalg.vector_norm(variance_C - 1))
