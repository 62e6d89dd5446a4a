"""What do the networks minimise? Pure functions of tensors."""
from tadfkd.losses.attention import (AttentionTransferLoss,
                                     ClassActivationLoss, GradCAMLoss)
from tadfkd.losses.base_loss import (BaseLoss, ImageLoss, LabelLoss,
                                     LogitsLoss, StatisticsLoss)
from tadfkd.losses.bn_statistics import (BNStatisticsLoss,
                                         StatisticsDivergenceLoss)
from tadfkd.losses.class_prior import (ActivationLoss, ClassBalanceLoss,
                                       ClassPrior, OneHotLoss)
from tadfkd.losses.contrastive import InfoNCELoss
from tadfkd.losses.image_prior import (ImageL2Loss, PixelDivergenceLoss,
                                       PixelStatisticsLoss, SmoothnessLoss,
                                       TotalVariationLoss)
from tadfkd.losses.logits import (AgreedKLLoss, JSLoss, KLLoss, L1Loss,
                                  LogitsLossSum)

__all__ = [
    'ActivationLoss', 'AgreedKLLoss', 'AttentionTransferLoss',
    'BNStatisticsLoss', 'BaseLoss', 'ClassActivationLoss', 'ClassBalanceLoss',
    'ClassPrior', 'GradCAMLoss', 'ImageL2Loss', 'ImageLoss', 'InfoNCELoss',
    'JSLoss', 'KLLoss', 'L1Loss', 'LabelLoss', 'LogitsLoss', 'LogitsLossSum',
    'OneHotLoss', 'PixelDivergenceLoss', 'PixelStatisticsLoss',
    'SmoothnessLoss', 'StatisticsDivergenceLoss', 'StatisticsLoss',
    'TotalVariationLoss'
]
