"""The convolutional generator of the DAFL family."""
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from tadfkd.errors import UserError, require_at_least, require_choice
from tadfkd.generators.base_generator import BaseGenerator
from tadfkd.registry import MODELS
from tadfkd.utils.precision import at_least_float32


class BatchNormHead(nn.Module):
    """A batch norm whose output is the image as the teacher normalises it.

    The image itself is ``mean + std * output``, which is not clipped. The
    state dict holds mean and std, so a saved generator is complete.

    Args:
        channels: C.
        tanh: Whether a tanh precedes the batch norm.
        affine: Whether the batch norm has a trained scale and shift.
    """

    mean_C11: Tensor
    std_C11: Tensor

    def __init__(self, channels: int, tanh: bool, affine: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=affine)
        self.tanh = tanh
        self.register_buffer('mean_C11', torch.full((channels, 1, 1), 0.5))
        self.register_buffer('std_C11', torch.full((channels, 1, 1), 0.25))

    def adopt_normalization(self, mean_C: Tensor, std_C: Tensor) -> None:
        """Take the teacher's mean and standard deviation.

        Args:
            mean_C: In units of [0, 1], of RGB or of one channel.
            std_C: Likewise, > 0.
        """
        self.mean_C11.copy_(mean_C.view(-1, 1, 1))
        self.std_C11.copy_(std_C.view(-1, 1, 1))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Values of any range -> images in units of [0, 1]."""
        if self.tanh:
            x_BCHW = x_BCHW.tanh()
        return self.mean_C11 + self.std_C11 * self.norm(x_BCHW)


@MODELS.register_module()
class UpsamplingGenerator(BaseGenerator):
    """Linear layer, then twice nearest-neighbour upsampling and convolution::

        Linear(Z -> 2n * H/4 * W/4) - BN [- LeakyReLU(0.2)]
        up x2 - Conv3x3(2n, 2n) - BN - LeakyReLU(0.2)
        up x2 - Conv3x3(2n,  n) - BN - LeakyReLU(0.2)
        Conv3x3(n, C) - head

    Args:
        latent_size: Z.
        image_size: Height and width, each divisible by 4 and at least 8.
        image_channels: C.
        width: n, >= 1.
        head: ``'sigmoid'``, for images in [0, 1]; ``'batch_norm'``, with
            affine; or ``'tanh_batch_norm'``, without affine and with a tanh
            before it. The output of a batch norm is the image as the teacher
            normalises it. It is mapped back by the teacher's mean and
            standard deviation, which an algorithm hands over. Without an
            algorithm they are 0.5 and 0.25. Pixels of these images can
            leave [0, 1].
        bn_eps: Epsilon of the second and third batch norm, > 0. Public code
            has 0.8, because its argument 0.8 is meant as the momentum and is
            read as epsilon.
        first_activation: Whether a LeakyReLU follows the first batch norm.
            Only the released code of arXiv 2402.12406 has it.
        spectral: Whether the convolutions' weights are divided by their
            spectral norm (arXiv 1802.05957), as in arXiv 2201.03019.
        num_classes: See :class:`BaseGenerator`; for subclasses.

    Example:
        >>> generator = UpsamplingGenerator(100, image_size=32, width=8)
        >>> generator(torch.randn(4, 100)).shape
        torch.Size([4, 3, 32, 32])
    """

    #: ``decode`` can start after so many layers of ``upsample``: after the
    #: first batch norm and its activation, and after the other activations.
    #: The features are the input of the layer that comes next.
    feature_layers = (3, 7, 11)

    def __init__(self,
                 latent_size: int,
                 image_size: int | tuple[int, int],
                 image_channels: int = 3,
                 *,
                 width: int,
                 head: Literal['sigmoid', 'batch_norm',
                               'tanh_batch_norm'] = 'sigmoid',
                 bn_eps: float = 1e-5,
                 first_activation: bool = False,
                 spectral: bool = False,
                 num_classes: int | None = None) -> None:
        super().__init__(latent_size, image_size, image_channels, num_classes)
        require_at_least('model.generator', 'width', width, 1)
        require_at_least('model.generator', 'bn_eps', bn_eps, 1e-12)
        if any(size < 8 or size % 4 for size in self.image_size):
            raise UserError(
                'image_size must be divisible by 4 and at least 8, got '
                f'{image_size!r}: set model.generator.image_size (the student '
                'and the teacher resize images to their own size)')
        heads: dict[str, nn.Module] = {
            'sigmoid':
            nn.Sigmoid(),
            'batch_norm':
            BatchNormHead(image_channels, tanh=False, affine=True),
            'tanh_batch_norm':
            BatchNormHead(image_channels, tanh=True, affine=False)
        }
        require_choice('model.generator', 'head', head, heads)
        height, width_ = (size // 4 for size in self.image_size)
        wide = 2 * width
        self.project = nn.Linear(latent_size, wide * height * width_)
        self.upsample = nn.Sequential(
            nn.Unflatten(1, (wide, height, width_)), nn.BatchNorm2d(wide),
            nn.LeakyReLU(0.2) if first_activation else nn.Identity(),
            nn.Upsample(scale_factor=2), nn.Conv2d(wide, wide, 3, padding=1),
            nn.BatchNorm2d(wide, eps=bn_eps), nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2), nn.Conv2d(wide, width, 3, padding=1),
            nn.BatchNorm2d(width, eps=bn_eps), nn.LeakyReLU(0.2),
            nn.Conv2d(width, image_channels, 3, padding=1))
        if spectral:
            for layer in self.upsample:
                if isinstance(layer, nn.Conv2d):
                    spectral_norm(layer)
        self.head = heads[head]

    @property
    def first_norm(self) -> nn.Module:
        """The batch norm of the linear layer's output."""
        return self.upsample[1]

    def forward(self,
                latents_BZ: Tensor,
                labels_B: Tensor | None = None) -> Tensor:
        """See :meth:`BaseGenerator.forward`; labels are not used."""
        return self.decode(self.project(latents_BZ))

    def decode(self, features: Tensor, start: int = 0) -> Tensor:
        """The images of features that the first ``start`` layers computed."""
        # The head is in float32 also under autocast, because images between
        # components are float32.
        return self.head(at_least_float32(self.upsample[start:](features)))
