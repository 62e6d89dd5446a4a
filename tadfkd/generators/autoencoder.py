"""An encoder and a generator that remember images together."""
from dataclasses import dataclass

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from tadfkd.errors import require_at_least
from tadfkd.generators.base_generator import BaseGenerator
from tadfkd.registry import MODELS


@dataclass(frozen=True)
class Reconstruction:
    """What the autoencoder made of images.

    Attributes:
        images_BCHW: Decoded, in [0, 1].
        divergence: KL(q(z | x) || N(0, 1)) in nats, summed over the latent,
            mean over samples.
    """

    images_BCHW: Tensor
    divergence: Tensor


@MODELS.register_module()
class VariationalAutoencoder(BaseModule):
    """Images -> q(z | x) -> z -> images; z ~ N(0, 1) -> images to replay.

    The encoder mirrors the decoder: two strided convolutions, then linear
    layers for the mean and the log variance. arXiv 1312.6114; for replay,
    arXiv 2201.03019.

    Args:
        decoder: Config of a :class:`BaseGenerator` without labels; it sets
            the sizes of latent and images.
        width: Channels of the first convolution, >= 1; the second has twice
            as many.
    """

    def __init__(self, decoder: dict, width: int = 64) -> None:
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
            stream: Of the latent's noise, on the images' device.
        """
        # Centred, like what the decoder's sigmoid comes from.
        mean_BZ, log_variance_BZ = self.encoder(2 * images_BCHW -
                                                1).float().chunk(2, 1)
        noise_BZ = torch.randn(
            mean_BZ.shape, generator=stream, device=stream.device)
        latents_BZ = mean_BZ + (log_variance_BZ / 2).exp() * noise_BZ
        divergence_B = 0.5 * (mean_BZ.square() + log_variance_BZ.exp() - 1 -
                              log_variance_BZ).sum(1)
        return Reconstruction(self.decoder(latents_BZ), divergence_B.mean())

    def recall(self, size: int, stream: torch.Generator) -> Tensor:
        """images_BCHW of latents from N(0, 1), drawn by a generator of the
        CPU."""
        latents_BZ = torch.randn(
            size, self.decoder.latent_size, generator=stream)
        return self.decoder(latents_BZ.to(next(self.parameters()).device))
