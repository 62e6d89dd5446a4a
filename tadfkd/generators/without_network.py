"""Images that no network makes."""
import math

import torch
from torch import Tensor, nn

from tadfkd.errors import require_at_least, size_pair
from tadfkd.generators.base_generator import BaseGenerator
from tadfkd.registry import MODELS


@MODELS.register_module()
class NoiseGenerator(BaseGenerator):
    """Uniform noise: each pixel is the normal distribution function of one
    number of the latent, so that it is uniform in [0, 1]. Nothing is trained.

    Args:
        image_size: See :class:`BaseGenerator`.
        image_channels: See :class:`BaseGenerator`.
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
    """A batch of images whose pixels are themselves the variables.

    The variables are in units of a standard deviation, as classifiers
    normalise: an image is 0.5 + 0.25 times them. Before each forward they are
    brought back into the range of an image, [-2, 2]. arXiv 1912.08795.

    Args:
        batch_size: How many images there are, >= 1; a forward gives the first
            as many as there are latents, which are not read.
        image_size: See :class:`BaseGenerator`.
        image_channels: See :class:`BaseGenerator`.
    """

    #: In a distributed run each process has images of its own.
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
        """Begin again from N(0, 1), on the stream's device."""
        self.variables_BCHW.copy_(
            torch.randn(
                self.variables_BCHW.shape,
                generator=stream,
                device=stream.device))

    def forward(self,
                latents_BZ: Tensor,
                labels_B: Tensor | None = None) -> Tensor:
        """See :meth:`BaseGenerator.forward`; neither is read."""
        assert len(latents_BZ) <= len(self.variables_BCHW)
        with torch.no_grad():
            self.variables_BCHW.clamp_(-2, 2)
        return 0.5 + 0.25 * self.variables_BCHW[:len(latents_BZ)]
