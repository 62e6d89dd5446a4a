"""Pure functions of tensors: what the networks are trained with."""
from tadfkd.losses.base import BaseLoss
from tadfkd.losses.bn_statistics import BNStatisticsLoss
from tadfkd.losses.image_prior import (ImageL2Loss, PixelStatisticsLoss,
                                       TotalVariationLoss)
from tadfkd.losses.logits import JSLoss, KLLoss, L1Loss

__all__ = [
    'BNStatisticsLoss', 'BaseLoss', 'ImageL2Loss', 'JSLoss', 'KLLoss',
    'L1Loss', 'PixelStatisticsLoss', 'TotalVariationLoss'
]
