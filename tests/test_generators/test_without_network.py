"""Noise, and pixels that are themselves the variables."""
import numpy as np
import pytest
import torch
from scipy import stats

from tadfkd.generators import NoiseGenerator, PixelGenerator
from tadfkd.registry import MODELS


def test_noise_has_one_number_of_the_latent_a_pixel() -> None:
    generator = NoiseGenerator(4, 3)
    latents_BZ = torch.randn(2, 48)
    expected = stats.norm.cdf(latents_BZ.double().numpy())
    np.testing.assert_allclose(
        generator(latents_BZ).flatten(1), expected, rtol=1e-4, atol=1e-6)
    assert [*generator.parameters()] == []


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
