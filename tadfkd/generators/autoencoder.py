"""An encoder and a generator that reconstruct images together."""
from dataclasses import dataclass

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from tadfkd.errors import require_at_least
from tadfkd.generators.base_generator import BaseGenerator
from tadfkd.registry import MODELS
from tadfkd.utils.precision import at_least_float32


@dataclass(frozen=True)
class Reconstruction:
    """The autoencoder's output for a batch of images.

    Attributes:
        images_BCHW: Decoded images in [0, 1].
        divergence: KL(q(z | x) || N(0, 1)) in nats, summed over the latent,
            mean over samples.
    """

    images_BCHW: Tensor
    divergence: Tensor


@MODELS.register_module()
class VariationalAutoencoder(BaseModule):
    """Images -> q(z | x) -> z -> images.

    The encoder mirrors the decoder: two strided convolutions, then a linear
    layer for the mean and the log variance. arXiv 1312.6114.

    Args:
        decoder: Config of a :class:`BaseGenerator` without labels. It sets
            the sizes of latents and images.
        width: Channels of the first convolution, >= 1; the second has twice
            as many.

    Example:
        >>> decoder = dict(
        ...     type='UpsamplingGenerator', latent_size=4, image_size=8,
        ...     width=2)
        >>> autoencoder = VariationalAutoencoder(decoder, width=2)
        >>> made = autoencoder(torch.rand(5, 3, 8, 8), torch.Generator())
        >>> made.images_BCHW.shape, made.divergence.shape
        (torch.Size([5, 3, 8, 8]), torch.Size([]))
    """

    def __init__(self, decoder: dict, width: int) -> None:
        super().__init__()
        require_at_least('the VariationalAutoencoder', 'width', width, 1)
        self.decoder: BaseGenerator = MODELS.build(decoder)
        height, width_ = (size // 4 for size in self.decoder.image_size)
        self.encoder = nn.Sequential(
            nn.Conv2d(
                self.decoder.image_channels, width, 4, stride=2, padding=1),
            nn.BatchNorm2d(width), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2), nn.Flatten(),
            nn.Linear(2 * width * height * width_,
                      2 * self.decoder.latent_size))

    def forward(self, images_BCHW: Tensor,
                stream: torch.Generator) -> Reconstruction:
        """Encode, draw a latent, and decode.

        Args:
            images_BCHW: Float in [0, 1].
            stream: Source of the latent's noise, on the images' device.
        """
        # The encoder's input is centred, like the input of a sigmoid.
        mean_BZ, log_variance_BZ = at_least_float32(
            self.encoder(2 * images_BCHW - 1)).chunk(2, 1)
        noise_BZ = torch.randn(
            mean_BZ.shape, generator=stream, device=stream.device)
        latents_BZ = mean_BZ + (log_variance_BZ / 2).exp() * noise_BZ
        divergence_B = 0.5 * (mean_BZ.square() + log_variance_BZ.exp() - 1 -
                              log_variance_BZ).sum(1)
        return Reconstruction(self.decoder(latents_BZ), divergence_B.mean())
