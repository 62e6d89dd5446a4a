"""Images that are drawn by rules: fields, blobs, strokes and leaves."""
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from tadfkd.errors import UserError, require_at_least, size_pair
from tadfkd.generators.base_generator import BaseGenerator
from tadfkd.registry import MODELS


class ProceduralFamily(ABC):
    """Draws images of one kind from uniform numbers.

    An image depends on its own numbers alone. The values of its pixels have
    any range, because :class:`ProceduralGenerator` sets their mean and
    deviation.
    """

    @abstractmethod
    def count(self, channels: int, height: int, width: int) -> int:
        """How many numbers an image of this size takes."""

    @abstractmethod
    def draw(self, numbers_BN: Tensor, channels: int, height: int,
             width: int) -> Tensor:
        """values_BCHW, float32, of any range.

        Args:
            numbers_BN: Uniform in (0, 1); N is :meth:`count`.
            channels: C.
            height: H.
            width: W.
        """


def _grid(numbers_BN: Tensor, height: int, width: int) -> tuple[Tensor, ...]:
    """y_H1 and x_1W of the pixels' centres, in units of the shorter side."""
    side = min(height, width)
    device = numbers_BN.device
    y_H = (torch.arange(height, device=device) + 0.5) / side
    x_W = (torch.arange(width, device=device) + 0.5) / side
    return y_H[:, None], x_W[None]


@MODELS.register_module()
class SpectralFields(ProceduralFamily):
    """Gaussian fields whose amplitude falls with frequency f as 1 / f^a.

    Natural images have a near 1. The channels share most of a field.

    Args:
        exponents: Bounds of a, >= 0, which is drawn for each image.

    Example:
        >>> family = SpectralFields()
        >>> numbers_BN = torch.rand(2, family.count(1, 8, 8))
        >>> family.draw(numbers_BN, 1, 8, 8).shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(self, exponents: tuple[float, float] = (0.5, 2.5)) -> None:
        require_at_least('the SpectralFields', 'exponents[0]', exponents[0],
                         0.0)
        require_at_least('the SpectralFields', 'exponents[1]', exponents[1],
                         exponents[0])
        self.exponents = exponents

    def count(self, channels: int, height: int, width: int) -> int:
        """See :meth:`ProceduralFamily.count`."""
        # One field that all channels share, and one for each channel.
        return 1 + (channels + (channels > 1)) * height * width

    def draw(self, numbers_BN: Tensor, channels: int, height: int,
             width: int) -> Tensor:
        """See :meth:`ProceduralFamily.draw`."""
        low, high = self.exponents
        exponent_B111 = low + (high - low) * numbers_BN[:, 0, None, None, None]
        noise = torch.special.ndtri(numbers_BN[:, 1:]).view(
            len(numbers_BN), -1, height, width)
        if channels > 1:
            noise = 0.8 * noise[:, :1] + 0.6 * noise[:, 1:]
        device = numbers_BN.device
        frequency = torch.hypot(
            torch.fft.fftfreq(height, device=device)[:, None],
            torch.fft.rfftfreq(width, device=device)[None])
        # Frequency 0 is the mean, which is set later.
        frequency[0, 0] = torch.inf
        amplitude = frequency**-exponent_B111
        return torch.fft.irfft2(
            torch.fft.rfft2(noise) * amplitude, s=(height, width))


@MODELS.register_module()
class Blobs(ProceduralFamily):
    """Sums of Gaussian blobs of any place, size, direction and colour.

    Args:
        num_blobs: Per image, >= 1.

    Example:
        >>> family = Blobs()
        >>> numbers_BN = torch.rand(2, family.count(3, 8, 8))
        >>> family.draw(numbers_BN, 3, 8, 8).shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(self, num_blobs: int = 8) -> None:
        require_at_least('the Blobs', 'num_blobs', num_blobs, 1)
        self.num_blobs = num_blobs

    def count(self, channels: int, height: int, width: int) -> int:
        """See :meth:`ProceduralFamily.count`."""
        return self.num_blobs * (5 + channels)

    def draw(self, numbers_BN: Tensor, channels: int, height: int,
             width: int) -> Tensor:
        """See :meth:`ProceduralFamily.draw`."""
        y, x = _grid(numbers_BN, height, width)
        values = numbers_BN.new_zeros(len(numbers_BN), channels, height, width)
        for blob in numbers_BN.view(len(numbers_BN), self.num_blobs,
                                    -1).unbind(1):
            top, left, size, ratio, turn = blob[:, :5, None, None].unbind(1)
            dy, dx = y - top * y.max(), x - left * x.max()
            sine, cosine = (math.pi * turn).sin(), (math.pi * turn).cos()
            # Deviations from 1/25 to 1/4 of the shorter side.
            long = 0.04 * 6**size
            short = long * (0.3 + 0.7 * ratio)
            distance = ((cosine * dx + sine * dy) / long)**2 + (
                (cosine * dy - sine * dx) / short)**2
            colour_BC11 = torch.special.ndtri(blob[:, 5:, None, None])
            values += colour_BC11 * (-distance / 2).exp()[:, None]
        return values


@MODELS.register_module()
class Strokes(ProceduralFamily):
    """Curved strokes of any width and colour on a plain ground.

    A stroke is a quadratic Bezier curve.

    Args:
        num_strokes: Per image at most, >= 1.

    Example:
        >>> family = Strokes()
        >>> numbers_BN = torch.rand(2, family.count(1, 8, 8))
        >>> family.draw(numbers_BN, 1, 8, 8).shape
        torch.Size([2, 1, 8, 8])
    """

    #: Straight pieces that a curve is drawn as.
    NUM_PIECES = 12

    def __init__(self, num_strokes: int = 4) -> None:
        require_at_least('the Strokes', 'num_strokes', num_strokes, 1)
        self.num_strokes = num_strokes

    def count(self, channels: int, height: int, width: int) -> int:
        """See :meth:`ProceduralFamily.count`."""
        return 2 + channels + self.num_strokes * (7 + channels)

    def draw(self, numbers_BN: Tensor, channels: int, height: int,
             width: int) -> Tensor:
        """See :meth:`ProceduralFamily.draw`."""
        y, x = _grid(numbers_BN, height, width)
        batch = len(numbers_BN)
        number_B = 1 + (self.num_strokes * numbers_BN[:, 0]).floor()
        # The strokes of an image differ from the ground in one direction.
        contrast_BC11 = 1 + 0.5 * torch.special.ndtri(
            numbers_BN[:, 2:2 + channels, None, None])
        contrast_BC11 = torch.where(numbers_BN[:, 1, None, None, None] < 0.5,
                                    contrast_BC11, -contrast_BC11)
        values = numbers_BN.new_zeros(batch, channels, height, width)
        strokes = numbers_BN[:, 2 + channels:].view(batch, self.num_strokes,
                                                    -1)
        for index, stroke in enumerate(strokes.unbind(1)):
            distance_BHW = _distance_to_curve(stroke[:, :6].view(batch, 3, 2),
                                              y, x, self.NUM_PIECES)
            # From 1/30 to 1/8 of the shorter side, with soft edges.
            thickness_B11 = 0.033 * 3.75**stroke[:, 6, None, None]
            cover_BHW = (-(distance_BHW / thickness_B11)**4 / 2).exp()
            cover_BHW *= (index < number_B)[:, None, None]
            colour_BC11 = contrast_BC11 + 0.3 * torch.special.ndtri(
                stroke[:, 7:, None, None])
            values += (colour_BC11 - values) * cover_BHW[:, None]
        return values


def _distance_to_curve(points_B32: Tensor, y: Tensor, x: Tensor,
                       num_pieces: int) -> Tensor:
    """distance_BHW of each pixel to a Bezier curve of three points in
    [0, 1]."""
    t_T1 = torch.linspace(0, 1, num_pieces + 1, device=y.device)[:, None]
    bernstein_T3 = torch.cat(((1 - t_T1)**2, 2 * t_T1 * (1 - t_T1), t_T1**2),
                             1)
    places_BT2 = bernstein_T3 @ points_B32 * torch.stack((y.max(), x.max()))
    nearest: Tensor | None = None
    for start, end in zip(places_BT2[:, :-1].unbind(1),
                          places_BT2[:, 1:].unbind(1)):
        top, left = start[:, :, None, None].unbind(1)
        down, right = (end - start)[:, :, None, None].unbind(1)
        length = (down**2 + right**2).clamp_min(1e-12)
        share = (((y - top) * down + (x - left) * right) / length).clamp(0, 1)
        squared = (y - top - share * down)**2 + (x - left - share * right)**2
        nearest = squared if nearest is None else torch.minimum(
            nearest, squared)
    assert nearest is not None
    return nearest.sqrt()


@MODELS.register_module()
class DeadLeaves(ProceduralFamily):
    """Discs and rectangles that cover one another, with a colour each.

    Small ones are more frequent than large ones. The model is from
    Matheron (1968); arXiv 2106.05963 learns representations from it.

    Args:
        num_leaves: Per image, >= 1.

    Example:
        >>> family = DeadLeaves()
        >>> numbers_BN = torch.rand(2, family.count(3, 8, 8))
        >>> family.draw(numbers_BN, 3, 8, 8).shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(self, num_leaves: int = 24) -> None:
        require_at_least('the DeadLeaves', 'num_leaves', num_leaves, 1)
        self.num_leaves = num_leaves

    def count(self, channels: int, height: int, width: int) -> int:
        """See :meth:`ProceduralFamily.count`."""
        return self.num_leaves * (5 + channels)

    def draw(self, numbers_BN: Tensor, channels: int, height: int,
             width: int) -> Tensor:
        """See :meth:`ProceduralFamily.draw`."""
        y, x = _grid(numbers_BN, height, width)
        values = numbers_BN.new_zeros(len(numbers_BN), channels, height, width)
        for leaf in numbers_BN.view(len(numbers_BN), self.num_leaves,
                                    -1).unbind(1):
            top, left, size, ratio, kind = leaf[:, :5, None, None].unbind(1)
            # The density of radii from 0.06 to 0.6 falls as 1 / r^2.
            radius = 0.06 / (1 - 0.9 * size)
            dy = (y - top * y.max()).abs() / radius
            dx = (x - left * x.max()).abs() / (radius * (0.4 + 0.6 * ratio))
            distance = torch.where(kind < 0.5, torch.hypot(dx, dy),
                                   torch.maximum(dx, dy))
            colour_BC11 = torch.special.ndtri(leaf[:, 5:, None, None])
            values = torch.where((distance < 1)[:, None], colour_BC11, values)
        return values


@MODELS.register_module()
class ProceduralGenerator(BaseGenerator):
    """Images drawn by rules, without parameters.

    An image is a function of its latent: the normal distribution function of
    the latent's numbers gives uniform ones, of which the first picks a
    family. The mean and deviation of an image's pixels are near those by
    which the teacher normalises::

        mean + std (c f + b),   f of mean 0 and deviation 1,
                                c uniform in 1 -+ jitter, b in 0 -+ jitter

    and the pixels are clipped to [0, 1]. An algorithm hands over the
    teacher's mean and std; without an algorithm they are 0.5 and 0.25.

    Args:
        families: Configs of the :class:`ProceduralFamily` s, which are
            equally frequent.
        image_size: See :class:`BaseGenerator`.
        image_channels: See :class:`BaseGenerator`.
        jitter: In [0, 1).

    Raises:
        UserError: If there is no family, or a number is out of range.

    Example:
        >>> generator = ProceduralGenerator(
        ...     [dict(type='Blobs'), dict(type='DeadLeaves')], image_size=8)
        >>> generator(torch.randn(5, generator.latent_size)).shape
        torch.Size([5, 3, 8, 8])
    """

    mean_C11: Tensor
    std_C11: Tensor

    def __init__(self,
                 families: Sequence[dict],
                 image_size: int | tuple[int, int],
                 image_channels: int = 3,
                 jitter: float = 0.4) -> None:
        if not families:
            raise UserError('families must name at least one family, such as '
                            "dict(type='Blobs'), got none: set families of "
                            'the ProceduralGenerator')
        if not 0 <= jitter < 1:
            raise UserError(f'jitter must be in [0, 1), got {jitter!r}: set '
                            'jitter of the ProceduralGenerator')
        self.families: list[ProceduralFamily] = [
            MODELS.build(family) for family in families
        ]
        self.jitter = jitter
        height, width = size_pair('the ProceduralGenerator', 'image_size',
                                  image_size)
        self._counts = [
            family.count(image_channels, height, width)
            for family in self.families
        ]
        super().__init__(3 + max(self._counts), image_size, image_channels)
        shape = (image_channels, 1, 1)
        self.register_buffer('mean_C11', torch.full(shape, 0.5))
        self.register_buffer('std_C11', torch.full(shape, 0.25))

    def adopt_normalization(self, mean_C: Tensor, std_C: Tensor) -> None:
        """Take the teacher's mean and standard deviation, as
        :class:`~tadfkd.generators.upsampling.BatchNormHead` does."""
        self.mean_C11.copy_(mean_C.view(-1, 1, 1))
        self.std_C11.copy_(std_C.view(-1, 1, 1))

    def forward(self,
                latents_BZ: Tensor,
                labels_B: Tensor | None = None) -> Tensor:
        """See :meth:`BaseGenerator.forward`; labels are not used."""
        # Away from 0 and 1, where the inverse function is infinite.
        numbers_BZ = torch.special.ndtr(latents_BZ.float()).clamp(
            1e-6, 1 - 1e-6)
        which_B = (numbers_BZ[:, 0] * len(self.families)).long()
        shape = (self.image_channels, *self.image_size)
        fields_BCHW = numbers_BZ.new_empty(len(numbers_BZ), *shape)
        for index, family in enumerate(self.families):
            rows_M = (which_B == index).nonzero().squeeze(1)
            if len(rows_M) == 0:
                continue
            numbers_MN = numbers_BZ[rows_M, 3:3 + self._counts[index]]
            fields_BCHW[rows_M] = family.draw(numbers_MN, *shape)
        deviation, mean = torch.std_mean(fields_BCHW, (1, 2, 3), keepdim=True)
        # A blank image stays blank.
        fields_BCHW = (fields_BCHW - mean) / deviation.clamp_min(1e-6)
        contrast, brightness = (
            self.jitter *
            (2 * numbers_BZ[:, 1:3, None, None, None] - 1)).unbind(1)
        return (self.mean_C11 + self.std_C11 *
                ((1 + contrast) * fields_BCHW + brightness)).clamp(0, 1)
