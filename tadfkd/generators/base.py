"""What every generator shares."""
from abc import abstractmethod

from mmengine.model import BaseModule
from torch import Tensor

from tadfkd.utils.errors import UserError, require_at_least


class BaseGenerator(BaseModule):
    """Latents (and labels) -> images in [0, 1].

    Args:
        latent_size: Z, the length of a latent vector, >= 1.
        image_size: Height and width in pixels, or one number for both.
        image_channels: C, >= 1.
    """

    def __init__(self,
                 latent_size: int,
                 image_size: int | tuple[int, int],
                 image_channels: int = 3) -> None:
        super().__init__()
        require_at_least('model.generator', 'latent_size', latent_size, 1)
        require_at_least('model.generator', 'image_channels', image_channels,
                         1)
        sizes = (image_size, image_size) if isinstance(image_size, int) \
            else tuple(image_size)
        if len(sizes) != 2 or not all(isinstance(size, int) for size in sizes):
            raise UserError('image_size must be one or two whole numbers, got '
                            f'{image_size!r}: set model.generator.image_size')
        self.latent_size = latent_size
        self.image_size: tuple[int, int] = (sizes[0], sizes[1])
        self.image_channels = image_channels

    @abstractmethod
    def forward(self,
                latents_BZ: Tensor,
                labels_B: Tensor | None = None) -> Tensor:
        """Make one image a latent.

        Args:
            latents_BZ: Float latents, usually from N(0, 1).
            labels_B: Class ids, for class-conditional generators.

        Returns:
            images_BCHW, float32 in [0, 1], never normalised.
        """
