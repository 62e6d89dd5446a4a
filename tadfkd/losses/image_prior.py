"""Losses on images alone: are they small, smooth, as bright as the data?"""
from typing import Literal

import torch
from mmengine.dist import get_world_size
from torch import Tensor
from torch.nn import functional

from tadfkd.distributed.reductions import global_mean, global_moments
from tadfkd.errors import require_at_least, require_choice
from tadfkd.losses.base_loss import ImageLoss
from tadfkd.losses.bn_statistics import gaussian_divergence
from tadfkd.registry import MODELS
from tadfkd.utils.precision import at_least_float32

Over = Literal['sample', 'batch']


class _ImageNormLoss(ImageLoss):
    """An L2 norm of images, or of differences between their pixels.

    Args:
        over: ``'sample'`` takes the norm of each sample and averages, so the
            weight does not depend on the batch size. ``'batch'`` takes one
            norm of the whole batch (of all processes), as public code does.
            That norm grows with the square root of the batch size: a weight
            w acts like w sqrt(B) over samples.
        loss_weight: See :class:`BaseLoss`.
    """

    def __init__(self,
                 over: Over = 'sample',
                 loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        require_choice(f'the {type(self).__name__}', 'over', over,
                       ('sample', 'batch'))
        self.over = over

    def _norm(self, values_BCHW: Tensor) -> Tensor:
        if self.over == 'batch':
            norm = torch.linalg.vector_norm(values_BCHW)
            processes = get_world_size()
            return norm if processes == 1 else (
                processes * global_mean(norm.square(), 1)).sqrt()
        return torch.linalg.vector_norm(values_BCHW.flatten(1), dim=1).mean()


@MODELS.register_module()
class ImageL2Loss(_ImageNormLoss):
    """||x||_2.

    Example:
        >>> images_BCHW = torch.ones(9, 1, 2, 2)
        >>> ImageL2Loss()(images_BCHW), ImageL2Loss('batch')(images_BCHW)
        (tensor(2.), tensor(6.))
    """

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """The norm, >= 0."""
        return self.loss_weight * self._norm(at_least_float32(images_BCHW))


@MODELS.register_module()
class TotalVariationLoss(_ImageNormLoss):
    """The sum of the L2 norms of the differences to four neighbours.

    The neighbours are to the right, below and on both diagonals, as in
    arXiv 1912.08795.

    Example:
        >>> TotalVariationLoss()(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]))
        tensor(3.4142)
    """

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """The sum of the four norms, >= 0."""
        x = at_least_float32(images_BCHW)
        differences = (x[:, :, :, :-1] - x[:, :, :, 1:],
                       x[:, :, :-1, :] - x[:, :, 1:, :],
                       x[:, :, :-1, :-1] - x[:, :, 1:, 1:],
                       x[:, :, 1:, :-1] - x[:, :, :-1, 1:])
        norms = [self._norm(difference) for difference in differences]
        return self.loss_weight * torch.stack(norms).sum()


@MODELS.register_module()
class PixelStatisticsLoss(ImageLoss):
    """||mu||_2 + ||var - 1||_2 over the channels of normalised images.

    A teacher normalises its input with the mean and deviation of the pixels
    of its training data. mu and var are the channel means and variances of a
    batch after this normalisation, so they are 0 and 1 on the training data.
    The loss equals :class:`~tadfkd.losses.BNStatisticsLoss` of a batch norm
    before the first layer, and so it exists for a teacher without batch norm.
    It is our own addition and belongs to ``image_terms_on='normalized'``.

    Example:
        >>> PixelStatisticsLoss()(torch.zeros(2, 1, 4, 4))
        tensor(1.)
    """

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """The distance, >= 0, of a batch of normalised images."""
        variance_C, mean_C = torch.var_mean(
            at_least_float32(images_BCHW), dim=(0, 2, 3), unbiased=False)
        mean_C, variance_C = global_moments(mean_C, variance_C,
                                            len(images_BCHW))
        return self.loss_weight * (
            torch.linalg.vector_norm(mean_C) +
            torch.linalg.vector_norm(variance_C - 1))


@MODELS.register_module()
class PixelDivergenceLoss(ImageLoss):
    """max(KL - margin, 0) of the channels of normalised images, in nats.

    KL is that of :class:`~tadfkd.losses.StatisticsDivergenceLoss` for a layer
    before the first one, whose running mean and variance are 0 and 1, as
    :class:`PixelStatisticsLoss` says. So it exists for any teacher.

    Args:
        margin: Divergence that costs nothing, >= 0: data is normalised by
            rounded numbers, and a class has other pixels than the mean.
        loss_weight: See :class:`BaseLoss`.

    Example:
        >>> images_BCHW = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
        >>> PixelDivergenceLoss(margin=0.5)(images_BCHW)
        tensor(1.5000)
    """

    def __init__(self, margin: float = 0.0, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        require_at_least('the PixelDivergenceLoss', 'margin', margin, 0.0)
        self.margin = margin

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """The divergence, >= 0, of a batch of normalised images."""
        variance_C, mean_C = torch.var_mean(
            at_least_float32(images_BCHW), dim=(0, 2, 3), unbiased=False)
        mean_C, variance_C = global_moments(mean_C, variance_C,
                                            len(images_BCHW))
        divergence = gaussian_divergence(mean_C, variance_C.clamp_min(1e-3),
                                         torch.zeros_like(mean_C),
                                         torch.ones_like(mean_C))
        return self.loss_weight * (divergence - self.margin).clamp_min(0)


@MODELS.register_module()
class SmoothnessLoss(ImageLoss):
    """mean (x - blur x)^2 over samples, channels and pixels.

    The blur is the binomial filter (1 2 1) / 4 in both directions; the border
    is repeated.

    Example:
        >>> SmoothnessLoss()(torch.tensor([[[[0.0, 4.0], [0.0, 4.0]]]]))
        tensor(1.)
    """

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """The mean, >= 0."""
        x = at_least_float32(images_BCHW)
        # No convolution: autocast would run it in half precision, which is
        # too coarse for a difference of nearly equal numbers.
        blurred_BCHW = functional.pad(x, (1, 1, 1, 1), 'replicate')
        for dim in (2, 3):
            size = blurred_BCHW.shape[dim] - 2
            before, centre, after = (
                blurred_BCHW.narrow(dim, start, size) for start in range(3))
            blurred_BCHW = (before + 2 * centre + after) / 4
        return self.loss_weight * functional.mse_loss(x, blurred_BCHW)
