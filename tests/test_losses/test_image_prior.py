"""Image priors against NumPy in float64, pixel by pixel."""
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from tadfkd.errors import UserError
from tadfkd.losses import (BaseLoss, ImageL2Loss, PixelDivergenceLoss,
                           PixelStatisticsLoss, SmoothnessLoss,
                           TotalVariationLoss)

SHAPES = [(1, 1, 2, 2), (3, 3, 5, 4), (2, 1, 1, 6)]
#: Row and column offset of right, below, and both diagonals.
NEIGHBOURS = [(0, 1), (1, 0), (1, 1), (1, -1)]


def images(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(7))


def l2_by_hand(images_BCHW: np.ndarray, over: str) -> float:
    rows = images_BCHW.reshape(1 if over == 'batch' else len(images_BCHW), -1)
    return float(np.linalg.norm(rows, axis=1).mean())


def variation_by_hand(images_BCHW: np.ndarray, over: str) -> float:
    batch, channels, height, width = images_BCHW.shape
    total = 0.0
    for down, right in NEIGHBOURS:
        squares_B = [0.0] * batch
        for sample, channel, row, column in np.ndindex(images_BCHW.shape):
            other = row + down, column + right
            if 0 <= other[0] < height and 0 <= other[1] < width:
                image = images_BCHW[sample, channel]
                squares_B[sample] += float(image[row, column] -
                                           image[other])**2
        if over == 'batch':
            total += math.sqrt(sum(squares_B))
        else:
            total += sum(map(math.sqrt, squares_B)) / batch
    return total


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('over', ['sample', 'batch'])
@pytest.mark.parametrize('kind, by_hand',
                         [(ImageL2Loss, l2_by_hand),
                          (TotalVariationLoss, variation_by_hand)])
def test_the_norms_agree_with_their_definition(kind: type, by_hand: Callable,
                                               over: str,
                                               shape: tuple) -> None:
    images_BCHW = images(shape)
    assert kind(over, 0.5)(images_BCHW).item() == pytest.approx(
        0.5 * by_hand(images_BCHW.double().numpy(), over), rel=1e-5)


@pytest.mark.parametrize('over', ['sample', 'batch'])
@pytest.mark.parametrize('kind', [ImageL2Loss, TotalVariationLoss])
def test_a_black_image_has_no_loss_and_a_finite_gradient(
        kind: type[BaseLoss], over: str) -> None:
    images_BCHW = torch.zeros(2, 3, 4, 4, requires_grad=True)
    value = kind(over)(images_BCHW)
    value.backward()
    assert value == 0
    assert images_BCHW.grad is not None and images_BCHW.grad.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('over', ['sample', 'batch'])
@pytest.mark.parametrize('kind', [ImageL2Loss, TotalVariationLoss])
def test_half_precision_images_give_float32(kind: type[BaseLoss], over: str,
                                            dtype: torch.dtype) -> None:
    # 65504 is the largest float16: the sum of squares is far above.
    images_BCHW = 200 * images((2, 3, 8, 8))
    value = kind(over)(images_BCHW.to(dtype))
    assert value.dtype == torch.float32
    torch.testing.assert_close(
        value, kind(over)(images_BCHW), rtol=1e-2, atol=0)


@pytest.mark.parametrize('kind', [ImageL2Loss, TotalVariationLoss])
def test_over_anything_else_is_refused(kind: type[BaseLoss]) -> None:
    with pytest.raises(UserError, match=f'set the {kind.__name__}.over'):
        kind('image')


def test_pixel_statistics_agree_with_numpy() -> None:
    images_BCHW = images((4, 3, 5, 6))
    pixels_CN = images_BCHW.double().numpy().transpose(1, 0, 2,
                                                       3).reshape(3, -1)
    expected = np.linalg.norm(
        pixels_CN.mean(1)) + np.linalg.norm(pixels_CN.var(1) - 1)
    assert PixelStatisticsLoss(2.0)(images_BCHW).item() == pytest.approx(
        2 * expected, rel=1e-5)


@pytest.mark.parametrize('margin', [0.0, 0.2, 99.0])
def test_the_divergence_of_pixels_begins_at_its_margin(margin: float) -> None:
    images_BCHW = 2 * images((3, 3, 5, 4)) + 0.5
    values = images_BCHW.double().numpy()
    mean, variance = values.mean((0, 2, 3)), values.var((0, 2, 3))
    kl = (0.5 * (variance + mean**2 - 1 - np.log(variance))).mean()
    loss = PixelDivergenceLoss(margin, 3.0)(images_BCHW)
    assert loss.item() == pytest.approx(3 * max(kl - margin, 0), rel=1e-5)


def test_grey_images_have_a_finite_divergence() -> None:
    grey_BCHW = torch.zeros(2, 1, 4, 4, requires_grad=True)
    PixelDivergenceLoss()(grey_BCHW).backward()
    assert grey_BCHW.grad is not None and grey_BCHW.grad.isfinite().all()


@pytest.mark.parametrize('shape', SHAPES)
def test_smoothness_is_the_distance_from_a_blurred_image(shape: tuple) -> None:
    images_BCHW = images(shape)
    values = images_BCHW.double().numpy()
    padded = np.pad(values, ((0, 0), (0, 0), (1, 1), (1, 1)), 'edge')
    row = np.array([0.25, 0.5, 0.25])
    blurred = np.zeros_like(values)
    for down, right in np.ndindex(3, 3):
        blurred += row[down] * row[right] * padded[:, :, down:down + shape[2],
                                                   right:right + shape[3]]
    assert SmoothnessLoss(2.0)(images_BCHW).item() == pytest.approx(
        2 * ((values - blurred)**2).mean(), rel=1e-5)
