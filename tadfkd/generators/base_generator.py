"""What all generators share."""
from abc import abstractmethod

from mmengine.model import BaseModule
from torch import Tensor

from tadfkd.errors import require_at_least, size_pair


class BaseGenerator(BaseModule):
    """Latents (and labels) -> images in [0, 1].

    Args:
        latent_size: Z, the length of a latent vector, >= 1.
        image_size: Height and width in pixels, or one number for both.
        image_channels: C, >= 1.
        num_classes: K, >= 2, of a class-conditional generator, which needs
            labels; None for a generator without labels.
    """

    def __init__(self,
                 latent_size: int,
                 image_size: int | tuple[int, int],
                 image_channels: int = 3,
                 num_classes: int | None = None) -> None:
        super().__init__()
        require_at_least('model.generator', 'latent_size', latent_size, 1)
        require_at_least('model.generator', 'image_channels', image_channels,
                         1)
        if num_classes is not None:
            require_at_least('model.generator', 'num_classes', num_classes, 2)
        self.num_classes = num_classes
        self.image_size = size_pair('model.generator', 'image_size',
                                    image_size)
        self.latent_size = latent_size
        self.image_channels = image_channels

    @abstractmethod
    def forward(self,
                latents_BZ: Tensor,
                labels_B: Tensor | None = None) -> Tensor:
        """Generate one image per latent.

        Args:
            latents_BZ: Float latents, usually from N(0, 1).
            labels_B: Class ids, for class-conditional generators.

        Returns:
            images_BCHW, float32 in units of [0, 1], not normalised. Those
            of a head with batch norm can leave the range.
        """
