"""Crops, flips and shifts against a slow loop over samples."""
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tadfkd.augmentations.geometric import (RandomCropFlip,
                                            RandomResizedCropFlip, RandomShift,
                                            RandomShiftScale)
from tadfkd.errors import UserError


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def distinct(batch: int = 24, height: int = 5, width: int = 6) -> Tensor:
    """Images of which no two pixels are equal, and none is 0."""
    count = batch * 2 * height * width
    return torch.arange(1.0, count + 1).view(batch, 2, height, width)


def all_crops(image_CHW: Tensor, padding: int,
              flips: tuple[bool, ...]) -> list[tuple[tuple, Tensor]]:
    """Every crop of the zero-padded image, with its offset and flip."""
    _, height, width = image_CHW.shape
    padded = functional.pad(image_CHW, [padding] * 4)
    crops = []
    for top, left in np.ndindex(2 * padding + 1, 2 * padding + 1):
        crop_CHW = padded[:, top:top + height, left:left + width]
        crops += [((top, left, flip), crop_CHW.flip(2) if flip else crop_CHW)
                  for flip in flips]
    return crops


@pytest.mark.parametrize('probability, flips', [(0.0, (False, )),
                                                (1.0, (True, )),
                                                (0.5, (False, True))])
@pytest.mark.parametrize('padding', [0, 2])
def test_every_sample_is_a_crop_of_its_own_padded_image(
        padding: int, probability: float, flips: tuple[bool, ...]) -> None:
    images_BCHW = distinct()
    views_BCHW = RandomCropFlip(padding, probability)(images_BCHW, stream())
    drawn = []
    for image_CHW, view_CHW in zip(images_BCHW, views_BCHW):
        matches = [
            draw for draw, crop_CHW in all_crops(image_CHW, padding, flips)
            if torch.equal(crop_CHW, view_CHW)
        ]
        assert len(matches) == 1
        drawn += matches
    assert {flip for _, _, flip in drawn} == set(flips)
    if padding:
        # One offset for the whole batch is what public code does.
        assert len({draw[0] for draw in drawn}) > 2
        assert len({draw[1] for draw in drawn}) > 2
        assert any(top != left for top, left, _ in drawn)


ALL = [RandomCropFlip(2), RandomShift(2), RandomResizedCropFlip((0.25, 1.0))]


@pytest.mark.parametrize('augment', ALL)
def test_the_stream_alone_decides(augment: nn.Module) -> None:
    images_BCHW = distinct()
    one = augment(images_BCHW, stream())
    before = torch.get_rng_state()
    assert torch.equal(augment(images_BCHW, stream()), one)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(augment(images_BCHW, stream(1)), one)
    used = stream()
    augment(images_BCHW, used)
    assert not torch.equal(augment(images_BCHW, used), one)


@pytest.mark.parametrize('max_pixels', [0, 1, 2, 7])
def test_every_sample_is_rolled_by_pixels_of_its_own(max_pixels: int) -> None:
    # Also by more than there are pixels.
    images_BCHW = distinct(60)
    augment = RandomShift(max_pixels)
    views_BCHW = augment(images_BCHW, stream())
    shifts = range(-max_pixels, max_pixels + 1)
    drawn = []
    for image_CHW, view_CHW in zip(images_BCHW, views_BCHW):
        matches = {(down % 5, right % 6)
                   for down in shifts
                   for right in shifts if torch.equal(
                       view_CHW, torch.roll(image_CHW, (down, right), (1, 2)))}
        assert len(matches) == 1
        drawn += matches
    rows, columns = ({draw[i] for draw in drawn} for i in range(2))
    assert rows == {shift % 5 for shift in shifts}
    assert columns == {shift % 6 for shift in shifts}
    if max_pixels:
        # Not one shift for both directions, or for the batch.
        assert any(down != right for down, right in drawn)


def test_a_resized_crop_is_an_enlarged_part_inside_of_the_image() -> None:
    # Two channels say where a pixel is: x and y in [-1, 1].
    x_W, y_H = ((2 * torch.arange(size) + 1) / size - 1 for size in (48, 32))
    ramp_CHW = torch.stack((x_W.expand(32, -1), y_H[:, None].expand(-1, 48)))
    views_BCHW = RandomResizedCropFlip(
        (0.3, 0.7))(ramp_CHW.repeat(400, 1, 1, 1), stream())
    # Where the image has a slope, a view is side * ramp + centre.
    inner, ramp = (x[..., 8:-8, 12:-12] for x in (views_BCHW, ramp_CHW))
    centre_B2 = inner.mean((2, 3))
    side_B2 = (inner * ramp).sum((2, 3)) / ramp.square().sum((1, 2))
    expected = side_B2[..., None, None] * ramp + centre_B2[..., None, None]
    torch.testing.assert_close(inner, expected, rtol=0, atol=1e-4)
    # In proportion to the image, never upside down, inside of the image.
    torch.testing.assert_close(
        side_B2[:, 0].abs(), side_B2[:, 1], rtol=0, atol=1e-4)
    assert (centre_B2.abs() + side_B2.abs()).max() < 1 + 1e-4
    # Areas, places and flips are uniform.
    area_B = side_B2[:, 1]**2
    assert area_B.min() > 0.3 - 1e-4 and area_B.max() < 0.7 + 1e-4
    place_B2 = centre_B2 / (1 - side_B2.abs())
    for values, quartiles in ((area_B, [0.4, 0.5,
                                        0.6]), (place_B2[:, 0], [-0.5, 0,
                                                                 0.5]),
                              (place_B2[:, 1], [-0.5, 0, 0.5])):
        np.testing.assert_allclose(
            np.quantile(values, [0.25, 0.5, 0.75]), quartiles, atol=0.15)
    assert 0.4 < (side_B2[:, 0] < 0).float().mean() < 0.6


@pytest.mark.parametrize('augment', ALL)
def test_gradients_reach_the_images(augment: nn.Module) -> None:
    images_BCHW = torch.rand(3, 1, 6, 6).requires_grad_()
    weights_BCHW = torch.randn(3, 1, 6, 6)

    def value(images_BCHW: Tensor) -> Tensor:
        return (augment(images_BCHW, stream()) * weights_BCHW).sum()

    gradient_BCHW, = torch.autograd.grad(value(images_BCHW), images_BCHW)
    # An augmentation is linear in the image: a step of any length will do.
    step_BCHW = torch.randn(3, 1, 6, 6)
    torch.testing.assert_close(
        (gradient_BCHW * step_BCHW).sum(),
        value(images_BCHW + step_BCHW) - value(images_BCHW),
        rtol=1e-4,
        atol=1e-4)
    assert gradient_BCHW.flatten(1).any(1).all()


@pytest.mark.parametrize('kind, options', [
    (RandomCropFlip, dict(padding=-1)),
    (RandomCropFlip, dict(padding=1, flip_probability=1.1)),
    (RandomShift, dict(max_pixels=0.5)),
    (RandomResizedCropFlip, dict(scale=(0.0, 1.0))),
    (RandomResizedCropFlip, dict(scale=(0.5, 0.2))),
])
def test_a_bad_option_names_what_to_change(kind: type, options: dict) -> None:
    name = [*options][-1]
    with pytest.raises(UserError, match=f'set .*{name}') as caught:
        kind(**options)
    assert f'got {options[name]!r}' in str(caught.value)


def centred_square(side: int, size: int = 32, batch: int = 1) -> Tensor:
    images_BCHW = torch.zeros(batch, 1, size, size)
    edge = (size - side) // 2
    images_BCHW[:, :, edge:edge + side, edge:edge + side] = 1
    return images_BCHW


def test_without_shift_and_zoom_the_image_stays() -> None:
    images_BCHW = distinct() / 1000
    torch.testing.assert_close(
        RandomShiftScale(0.0, 0.0)(images_BCHW, stream()), images_BCHW)
    torch.testing.assert_close(
        RandomShiftScale(0.0, 0.0, 1.0)(images_BCHW, stream()),
        images_BCHW.flip(3))


def test_every_sample_moves_by_at_most_the_shift() -> None:
    images_BCHW = centred_square(8, batch=300)
    views_BCHW = RandomShiftScale(0.25, 0.0)(images_BCHW, stream())
    mass_BHW = views_BCHW[:, 0] / views_BCHW.sum((1, 2, 3))[:, None, None]
    places = torch.arange(32) - 15.5
    for moved_B in ((mass_BHW.sum(2) * places).sum(1),
                    (mass_BHW.sum(1) * places).sum(1)):
        # A quarter of 32 pixels.
        assert 7 < moved_B.max() < 8.01 and -8.01 < moved_B.min() < -7


def test_every_sample_grows_and_shrinks_by_the_same_factor() -> None:
    images_BCHW = centred_square(16, batch=300)
    views_BCHW = RandomShiftScale(0.0, 0.25)(images_BCHW, stream())
    side_B = views_BCHW.sum((1, 2, 3)).sqrt()
    assert side_B.max().item() == pytest.approx(16 * 1.25, abs=0.3)
    assert side_B.min().item() == pytest.approx(16 / 1.25, abs=0.3)


def test_the_border_is_repeated_and_gradients_reach_the_image() -> None:
    images_BCHW = torch.full((8, 1, 6, 6), 0.3, requires_grad=True)
    views_BCHW = RandomShiftScale(0.5, 0.2)(images_BCHW, stream())
    torch.testing.assert_close(views_BCHW, images_BCHW)
    views_BCHW.sum().backward()
    assert images_BCHW.grad is not None and images_BCHW.grad.any()


@pytest.mark.parametrize('change', [
    dict(shift=1.0),
    dict(scale=-0.1),
    dict(flip_probability=2.0),
])
def test_shifts_and_zooms_out_of_range_are_refused(change: dict) -> None:
    with pytest.raises(UserError, match=next(iter(change))):
        RandomShiftScale(**(dict(shift=0.1, scale=0.1) | change))
