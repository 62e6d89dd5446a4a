"""Noise, and pixels that are themselves the variables."""
import numpy as np
import pytest
import torch
from scipy import stats

from tadfkd.errors import UserError
from tadfkd.generators import NoiseGenerator, PixelGenerator
from tadfkd.registry import MODELS


def test_pixels_of_noise_are_uniform_between_0_and_1() -> None:
    generator = MODELS.build(
        dict(type='NoiseGenerator', image_size=(8, 10), image_channels=2))
    images_BCHW = generator(torch.randn(100, generator.latent_size))
    assert images_BCHW.shape == (100, 2, 8, 10)
    assert images_BCHW.dtype == torch.float32
    assert images_BCHW.min() >= 0 and images_BCHW.max() <= 1
    test = stats.kstest(images_BCHW.flatten().numpy(), 'uniform')
    assert test.pvalue > 0.01
    # Neighbours in a row, in a column and of the two channels know nothing
    # of each other.
    values = images_BCHW.numpy()
    for one, other in ((values[..., 1:], values[..., :-1]),
                       (values[..., 1:, :],
                        values[..., :-1, :]), (values[:, 1:], values[:, :-1])):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.05


def test_noise_has_one_number_of_the_latent_a_pixel() -> None:
    generator = NoiseGenerator(4, 3)
    latents_BZ = torch.randn(2, 48)
    expected = stats.norm.cdf(latents_BZ.double().numpy())
    np.testing.assert_allclose(
        generator(latents_BZ).flatten(1), expected, rtol=1e-4, atol=1e-6)
    assert [*generator.parameters()] == []


def test_extreme_latents_stay_in_the_range_of_an_image() -> None:
    latents_BZ = torch.tensor([[-1e4, -9.0, 9.0, 1e4]])
    images_BCHW = NoiseGenerator(2, 1)(latents_BZ)
    assert images_BCHW.min() >= 0 and images_BCHW.max() <= 1


@pytest.mark.parametrize(
    'options', [
        dict(image_size=0),
        dict(image_size='8'),
        dict(image_size=8, image_channels=0),
    ],
    ids=str)
def test_noise_of_no_size_is_refused(options: dict) -> None:
    with pytest.raises(UserError, match='set model.generator.image_'):
        NoiseGenerator(**options)


def test_an_image_is_its_variables_in_units_of_a_quarter() -> None:
    generator = MODELS.build(
        dict(
            type='PixelGenerator',
            batch_size=5,
            image_size=(4, 6),
            image_channels=2))
    variables = generator.variables_BCHW.detach().double().numpy().copy()
    assert abs(variables).max() > 2
    images_BCHW = generator(torch.zeros(5, 1))
    expected = 0.5 + np.clip(variables, -2, 2) / 4
    assert images_BCHW.shape == (5, 2, 4, 6)
    np.testing.assert_allclose(images_BCHW.detach(), expected, atol=1e-6)
    assert images_BCHW.min() >= 0 and images_BCHW.max() <= 1
    # They are brought back themselves: no pixel is stuck outside.
    assert generator.variables_BCHW.abs().max() == 2
    # Fewer latents are the first images, and more are a mistake of ours.
    assert torch.equal(generator(torch.ones(3, 1)), images_BCHW[:3])
    with pytest.raises(AssertionError):
        generator(torch.zeros(6, 1))


def test_every_pixel_is_trained_also_at_the_edge_of_the_range() -> None:
    generator = PixelGenerator(3, 4, 1)
    with torch.no_grad():
        generator.variables_BCHW.fill_(5.0)
    optimizer = torch.optim.SGD(generator.parameters(), 1.0)
    generator(torch.zeros(3, 1)).sum().backward()
    gradient = generator.variables_BCHW.grad
    assert gradient is not None and (gradient == 0.25).all()
    optimizer.step()
    assert (generator(torch.zeros(3, 1)) == 0.5 + (2 - 0.25) / 4).all()


def test_reset_begins_again_from_n_0_1_of_the_stream() -> None:
    generator = PixelGenerator(20, 16, 3)
    parameter = generator.variables_BCHW
    before = torch.get_rng_state()
    generator.reset(torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), before)
    assert generator.variables_BCHW is parameter and parameter.requires_grad
    assert torch.equal(
        parameter,
        torch.randn(20, 3, 16, 16, generator=torch.Generator().manual_seed(1)))
    one = parameter.detach().clone()
    generator.reset(torch.Generator().manual_seed(2))
    assert not torch.isclose(parameter, one).all()


def test_a_batch_of_no_images_is_refused() -> None:
    with pytest.raises(UserError, match='set model.generator.batch_size'):
        PixelGenerator(0, 8)
