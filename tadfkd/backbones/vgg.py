"""The VGG of the distillation literature, for 32x32 images."""
from collections.abc import Sequence
from typing import Any

from mmpretrain.models.backbones import VGG
from torch import nn

from tadfkd.errors import UserError, require_choice
from tadfkd.registry import MODELS


@MODELS.register_module()
class CIFARVGG(VGG):
    """mmpretrain's VGG with max pooling after some of its stages only.

    Teachers of the distillation literature halve a 32x32 image three times
    (a 64x64 image four times) and average the remaining 4x4 map. mmpretrain's
    VGG pools after all five stages. The names of the weights are the same. A
    ``GlobalAveragePooling`` neck and a ``LinearClsHead`` of
    ``in_channels=512`` follow.

    Args:
        depth: 8 (one convolution per stage), 11, 13, 16 or 19.
        pooled_stages: The stages, from 0 to 4, that end in 2x2 max pooling.
        options: Other arguments of mmpretrain's ``VGG``, such as
            ``norm_cfg=dict(type='BN')`` for batch norm.

    Raises:
        UserError: If ``depth`` or ``pooled_stages`` is not allowed.
    """

    arch_settings = {8: (1, 1, 1, 1, 1), **VGG.arch_settings}

    def __init__(self,
                 depth: int,
                 pooled_stages: Sequence[int] = (0, 1, 2),
                 **options: Any) -> None:
        require_choice('backbone', 'depth', depth, self.arch_settings)
        if not set(pooled_stages) <= set(range(5)):
            raise UserError('pooled_stages must be within 0 to 4, got '
                            f'{pooled_stages!r}: set backbone.pooled_stages')
        super().__init__(depth, **options)
        for stage, (_, end) in enumerate(self.range_sub_modules):
            if stage not in pooled_stages:
                # Keep the index, so that the names of later layers stay.
                self.features[end - 1] = nn.Identity()
