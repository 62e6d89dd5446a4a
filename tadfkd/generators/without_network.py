"""Images without a network: noise, and pixels that are trained themselves."""
import math

import torch
from torch import Tensor, nn

from tadfkd.errors import require_at_least, size_pair
from tadfkd.generators.base_generator import BaseGenerator
from tadfkd.registry import MODELS


@MODELS.register_module()
class NoiseGenerator(BaseGenerator):
    """Uniform noise, without parameters.

    Each pixel is the normal distribution function of one number of the
    latent, so it is uniform in [0, 1].

    Args:
        image_size: See :class:`BaseGenerator`.
        image_channels: See :class:`BaseGenerator`.

    Example:
        >>> generator = NoiseGenerator(image_size=8, image_channels=1)
        >>> generator(torch.zeros(2, generator.latent_size)).unique()
        tensor([0.5000])
    """

    def __init__(self,
                 image_size: int | tuple[int, int],
                 image_channels: int = 3) -> None:
        pixels = math.prod(
            size_pair('model.generator', 'image_size', image_size))
        super().__init__(
            max(1, pixels * image_channels), image_size, image_channels)

    def forward(self,
                latents_BZ: Tensor,
                labels_B: Tensor | None = None) -> Tensor:
        """See :meth:`BaseGenerator.forward`; labels are not used."""
        return torch.special.ndtr(latents_BZ).view(-1, self.image_channels,
                                                   *self.image_size)


@MODELS.register_module()
class PixelGenerator(BaseGenerator):
    """A batch of images whose pixels are the trained variables.

    The variables are in units of a standard deviation, as classifiers
    normalise: an image is 0.5 + 0.25 times its variables. Each forward first
    clamps the variables to the range of an image, [-2, 2]. arXiv 1912.08795.

    Args:
        batch_size: Number of images, >= 1. A forward returns the first N
            images for N latents, and does not read the latents.
        image_size: See :class:`BaseGenerator`.
        image_channels: See :class:`BaseGenerator`.

    Example:
        >>> generator = PixelGenerator(batch_size=6, image_size=8)
        >>> generator(torch.zeros(4, 1)).shape
        torch.Size([4, 3, 8, 8])
    """

    #: In a distributed run each process trains images of its own.
    belongs_to_process = True

    def __init__(self,
                 batch_size: int,
                 image_size: int | tuple[int, int],
                 image_channels: int = 3) -> None:
        super().__init__(1, image_size, image_channels)
        require_at_least('model.generator', 'batch_size', batch_size, 1)
        self.batch_size = batch_size
        self.variables_BCHW = nn.Parameter(
            torch.randn(batch_size, image_channels, *self.image_size))

    @torch.no_grad()
    def reset(self, stream: torch.Generator) -> None:
        """Draw all variables from N(0, 1), on the stream's device."""
        self.variables_BCHW.copy_(
            torch.randn(
                self.variables_BCHW.shape,
                generator=stream,
                device=stream.device))

    def forward(self,
                latents_BZ: Tensor,
                labels_B: Tensor | None = None) -> Tensor:
        """See :meth:`BaseGenerator.forward`; neither argument is read."""
        assert len(latents_BZ) <= len(self.variables_BCHW)
        with torch.no_grad():
            self.variables_BCHW.clamp_(-2, 2)
        return 0.5 + 0.25 * self.variables_BCHW[:len(latents_BZ)]
