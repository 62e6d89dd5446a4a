"""Procedural images: what they depend on, and what their pixels are."""
import numpy as np
import pytest
import torch
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.generators import ProceduralGenerator

FAMILIES = ('SpectralFields', 'Blobs', 'Strokes', 'DeadLeaves')
EACH = pytest.mark.parametrize('family', FAMILIES)


def generator(*families: str,
              channels: int = 3,
              size: tuple[int, int] = (12, 16),
              jitter: float = 0.4) -> ProceduralGenerator:
    return ProceduralGenerator([dict(type=family) for family in families],
                               size, channels, jitter)


def latents(size: int, source: ProceduralGenerator) -> Tensor:
    return torch.randn(
        size, source.latent_size, generator=torch.Generator().manual_seed(3))


@EACH
@pytest.mark.parametrize('channels', [1, 3])
def test_an_image_depends_on_its_own_latent_alone(family: str,
                                                  channels: int) -> None:
    source = generator('Blobs', family, channels=channels)
    latents_BZ = latents(20, source)
    images_BCHW = source(latents_BZ)
    assert images_BCHW.shape == (20, channels, 12, 16)
    assert images_BCHW.dtype == torch.float32
    assert 0 <= images_BCHW.min() and images_BCHW.max() <= 1
    for index in (0, 7, 19):
        alone = source(latents_BZ[index:index + 1])[0]
        torch.testing.assert_close(alone, images_BCHW[index])
    # No two images are equal.
    assert len({image.numpy().tobytes() for image in images_BCHW}) == 20


@EACH
def test_pixels_have_the_mean_and_deviation_of_the_teacher(
        family: str) -> None:
    source = generator(family, jitter=0.0)
    # Few pixels of these leave [0, 1] and are clipped.
    mean_C, std_C = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.02] * 3)
    source.adopt_normalization(mean_C, std_C)
    images_BCHW = source(latents(64, source))
    deviation_BC, _ = torch.std_mean(images_BCHW, (2, 3))
    np.testing.assert_allclose(images_BCHW.mean((0, 2, 3)), mean_C, atol=0.01)
    # Over the three channels together it is exact.
    normalised = (images_BCHW - mean_C.view(-1, 1, 1)) / 0.02
    np.testing.assert_allclose(normalised.mean((1, 2, 3)), 0, atol=1e-3)
    np.testing.assert_allclose(normalised.std((1, 2, 3)), 1, atol=1e-3)
    assert (deviation_BC > 0).all()


def test_jitter_changes_contrast_and_brightness() -> None:
    source = generator('SpectralFields', channels=1, jitter=0.4)
    source.adopt_normalization(torch.tensor([0.5]), torch.tensor([0.02]))
    normalised = (source(latents(400, source)) - 0.5) / 0.02
    contrast_B = normalised.std((1, 2, 3))
    brightness_B = normalised.mean((1, 2, 3))
    for values, low, high in ((contrast_B, 0.6, 1.4), (brightness_B, -0.4,
                                                       0.4)):
        assert low - 0.01 < values.min() < low + 0.05
        assert high - 0.05 < values.max() < high + 0.01


def test_families_are_equally_frequent() -> None:
    both = generator('Blobs', 'DeadLeaves', channels=1, jitter=0.0)
    leaves = 0
    # Leaves have sharp edges: many neighbouring pixels are equal.
    for image in both(latents(300, both)):
        leaves += bool((image.diff(dim=2) == 0).float().mean() > 0.3)
    assert 120 < leaves < 180


def test_the_spectrum_falls_with_the_exponent() -> None:

    def slope(exponent: float) -> float:
        source = ProceduralGenerator(
            [dict(type='SpectralFields', exponents=(exponent, exponent))],
            32,
            1,
            jitter=0.0)
        source.adopt_normalization(torch.tensor([0.5]), torch.tensor([0.01]))
        images = source(latents(200, source))[:, 0].double().numpy()
        power = np.abs(np.fft.rfft(images - 0.5, axis=2))**2
        along = power.mean((0, 1))[1:16]
        frequency = np.arange(1, 16)
        return float(np.polyfit(np.log(frequency), np.log(along), 1)[0])

    assert slope(0.0) == pytest.approx(0.0, abs=0.1)
    assert slope(1.5) < slope(0.75) < -0.5


# Fields have one number per pixel, so a larger one is another one.
@pytest.mark.parametrize('family', FAMILIES[1:])
def test_images_of_other_sizes_show_the_same(family: str) -> None:
    # All lengths are in units of the image's side, so a larger image is a
    # finer drawing of the same.
    small, large = (
        generator(family, channels=1, size=(size, size), jitter=0.0)
        for size in (24, 48))
    latents_BZ = latents(30, small)
    shrunk = torch.nn.functional.avg_pool2d(large(latents_BZ), 2)
    pairs = np.stack(
        (small(latents_BZ).flatten(1).numpy(), shrunk.flatten(1).numpy()), 1)
    correlations = [np.corrcoef(pair)[0, 1] for pair in pairs]
    assert np.median(correlations) > 0.9


@pytest.mark.parametrize('change, words', [
    (dict(families=[]), 'families must name at least one'),
    (dict(jitter=1.0), r'jitter must be in \[0, 1\)'),
    (dict(image_size=0), 'image_size'),
])
def test_what_cannot_be_is_refused(change: dict, words: str) -> None:
    arguments: dict = dict(families=[dict(type='Blobs')], image_size=8)
    with pytest.raises(UserError, match=words):
        ProceduralGenerator(**(arguments | change))
