"""Mixtures of images, and several augmentations in turn."""
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tadfkd.errors import UserError, require_at_least, require_share
from tadfkd.registry import MODELS


@MODELS.register_module()
class RandomMixup(nn.Module):
    """w x + (1 - w) x' of each image x and another image x' of the batch.

    The teacher answers the mixture itself, so no labels are mixed. Mixtures
    of images of different classes lie where the classes meet. The idea is
    that of arXiv 1710.09412; arXiv 2106.05237 uses it in distillation.

    Args:
        probability: Share of the images that are mixed, in [0, 1].
        concentration: a of the Beta(a, a) distribution of w, > 0: 1 is
            uniform, and with less most mixtures are near one of both images.

    Example:
        >>> augment = RandomMixup()
        >>> augment(torch.rand(8, 3, 32, 32), torch.Generator()).shape
        torch.Size([8, 3, 32, 32])
    """

    def __init__(self,
                 probability: float = 0.5,
                 concentration: float = 1.0) -> None:
        super().__init__()
        require_share('the RandomMixup', 'probability', probability)
        require_at_least('the RandomMixup', 'concentration', concentration,
                         1e-3)
        self.probability = probability
        self.concentration = concentration

    def forward(self, images_BCHW: Tensor, stream: torch.Generator) -> Tensor:
        """See :meth:`~tadfkd.augmentations.RandomCropFlip.forward`."""
        batch, device = len(images_BCHW), images_BCHW.device
        mixed_B = torch.rand(
            batch, generator=stream, device=device) < self.probability
        # Beta(a, a) from two Gamma(a, 1), which torch draws from a stream.
        gamma_2B = torch._standard_gamma(
            torch.full((2, batch), self.concentration, device=device),
            generator=stream)
        weight_B = torch.where(mixed_B, gamma_2B[0] / gamma_2B.sum(0), 1.0)
        weight_B111 = weight_B[:, None, None, None]
        others_BCHW = images_BCHW[torch.randperm(
            batch, generator=stream, device=device)]
        return weight_B111 * images_BCHW + (1 - weight_B111) * others_BCHW


@MODELS.register_module()
class AugmentationSequence(nn.Module):
    """Several augmentations, each of the images of the one before.

    Args:
        augmentations: Their configs, at least one.

    Example:
        >>> augment = AugmentationSequence([
        ...     dict(type='RandomShift', max_pixels=2),
        ...     dict(type='RandomMixup')
        ... ])
        >>> augment(torch.rand(8, 3, 32, 32), torch.Generator()).shape
        torch.Size([8, 3, 32, 32])
    """

    def __init__(self, augmentations: Sequence[dict]) -> None:
        super().__init__()
        if not augmentations:
            raise UserError('augmentations must name at least one, such as '
                            "dict(type='RandomMixup'), got none: set "
                            'augmentations of the AugmentationSequence')
        self.augmentations = nn.ModuleList(
            MODELS.build(augmentation) for augmentation in augmentations)

    def forward(self, images_BCHW: Tensor, stream: torch.Generator) -> Tensor:
        """See :meth:`~tadfkd.augmentations.RandomCropFlip.forward`."""
        for augmentation in self.augmentations:
            images_BCHW = augmentation(images_BCHW, stream)
        return images_BCHW
