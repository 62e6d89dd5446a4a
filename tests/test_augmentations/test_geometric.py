"""Crops, flips and shifts against a slow loop over samples."""
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from tadfkd.augmentations.geometric import (RandomCropFlip,
                                            RandomResizedCropFlip, RandomShift)
from tadfkd.errors import UserError
from tadfkd.registry import MODELS


@pytest.fixture(autouse=True)
def the_scope() -> None:
    """Where configs find what they name."""
    init_default_scope('tadfkd')


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def distinct(batch: int = 24, height: int = 5, width: int = 6) -> Tensor:
    """Images of which no two pixels are equal, and none is 0."""
    count = batch * 2 * height * width
    return torch.arange(1.0, count + 1).view(batch, 2, height, width)


def all_crops(image_CHW: Tensor, padding: int,
              flips: tuple[bool, ...]) -> list[tuple[tuple, Tensor]]:
    """Every crop of the zero-padded image, by copying pixel by pixel."""
    channels, height, width = image_CHW.shape
    crops = []
    for flip in flips:
        for top in range(2 * padding + 1):
            for left in range(2 * padding + 1):
                crop_CHW = torch.zeros_like(image_CHW)
                for row in range(height):
                    for column in range(width):
                        source_row = row + top - padding
                        # A flip of the crop reads it from the right.
                        read = width - 1 - column if flip else column
                        source_column = read + left - padding
                        if 0 <= source_row < height \
                                and 0 <= source_column < width:
                            crop_CHW[:, row, column] = image_CHW[:, source_row,
                                                                 source_column]
                crops.append(((top, left, flip), crop_CHW))
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


def test_all_offsets_occur_and_about_half_of_the_images_are_flipped() -> None:
    image_CHW = distinct(1)[0]
    views_BCHW = RandomCropFlip(1, 0.5)(image_CHW.expand(900, -1, -1, -1),
                                        stream())
    counts = {
        draw: int((views_BCHW == crop_CHW).all((1, 2, 3)).sum())
        for draw, crop_CHW in all_crops(image_CHW, 1, (False, True))
    }
    assert sum(counts.values()) == 900 and len(counts) == 18
    # 50 are expected of each, with a standard deviation of 7.
    assert min(counts.values()) > 20 and max(counts.values()) < 85
    flipped = sum(count for draw, count in counts.items() if draw[2])
    assert 380 < flipped < 520


def test_without_padding_and_flip_images_are_unchanged() -> None:
    images_BCHW = distinct()
    assert torch.equal(
        RandomCropFlip(0, 0.0)(images_BCHW, stream()), images_BCHW)


def test_a_certain_flip_mirrors_every_image() -> None:
    images_BCHW = distinct()
    assert torch.equal(
        RandomCropFlip(0, 1.0)(images_BCHW, stream()), images_BCHW.flip(3))


def test_the_gradient_counts_how_often_a_pixel_is_seen() -> None:
    images_BCHW = distinct().requires_grad_()
    views_BCHW = RandomCropFlip(2)(images_BCHW, stream())
    weights_BCHW = torch.randn(views_BCHW.shape, generator=stream(1))
    gradient_BCHW, = torch.autograd.grad((views_BCHW * weights_BCHW).sum(),
                                         images_BCHW)
    # All pixels differ, so each seen one is found by its value.
    seen = dict(
        zip(views_BCHW.flatten().tolist(),
            weights_BCHW.flatten().tolist()))
    expected_BCHW = torch.tensor([
        seen.get(value, 0.0) for value in images_BCHW.flatten().tolist()
    ]).view(images_BCHW.shape)
    torch.testing.assert_close(gradient_BCHW, expected_BCHW)
    assert (expected_BCHW == 0).any() and (expected_BCHW != 0).any()


ALL = [RandomCropFlip(2), RandomShift(2), RandomResizedCropFlip()]


@pytest.mark.parametrize('augment', ALL)
def test_the_stream_alone_decides(augment: nn.Module) -> None:
    images_BCHW = distinct()
    one = augment(images_BCHW, stream())
    torch.rand(17)
    assert torch.equal(augment(images_BCHW, stream()), one)
    assert not torch.equal(augment(images_BCHW, stream(1)), one)
    used = stream()
    augment(images_BCHW, used)
    assert not torch.equal(augment(images_BCHW, used), one)


@pytest.mark.parametrize('augment', ALL)
def test_the_global_generator_is_left_alone(augment: nn.Module) -> None:
    before = torch.get_rng_state()
    augment(distinct(), stream())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_config_names_it() -> None:
    augment = MODELS.build(dict(type='RandomCropFlip', padding=3))
    assert isinstance(augment, RandomCropFlip) and augment.padding == 3


@pytest.mark.parametrize(
    'options', [
        dict(padding=-1),
        dict(padding=1.5),
        dict(flip_probability=-0.1),
        dict(flip_probability=1.1),
        dict(flip_probability=float('nan'))
    ],
    ids=str)
def test_a_bad_option_names_the_field_to_change(options: dict) -> None:
    name, = options
    with pytest.raises(UserError, match=f'set model.augment.{name}'):
        RandomCropFlip(**options)


@pytest.mark.parametrize('max_pixels', [0, 1, 2, 7])
def test_every_sample_is_rolled_by_pixels_of_its_own(max_pixels: int) -> None:
    # Also by more than there are pixels.
    images_BCHW = distinct(60)
    augment = MODELS.build(dict(type='RandomShift', max_pixels=max_pixels))
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


def test_all_shifts_occur_equally_often() -> None:
    image_CHW = distinct(1)[0]
    views_BCHW = RandomShift(1)(image_CHW.expand(900, -1, -1, -1), stream())
    counts = [
        int((views_BCHW == torch.roll(image_CHW, (down, right), (1, 2))).all(
            (1, 2, 3)).sum()) for down in (-1, 0, 1) for right in (-1, 0, 1)
    ]
    assert sum(counts) == 900
    # 100 are expected of each, with a standard deviation of 9.
    assert min(counts) > 60 and max(counts) < 140


def test_the_gradient_of_a_shift_is_shifted_back() -> None:
    images_BCHW = distinct().requires_grad_()
    views_BCHW = RandomShift(2)(images_BCHW, stream())
    weights_BCHW = torch.randn(views_BCHW.shape)
    gradient_BCHW, = torch.autograd.grad((views_BCHW * weights_BCHW).sum(),
                                         images_BCHW)
    # All pixels differ, and each of them is seen once.
    seen = dict(
        zip(views_BCHW.flatten().tolist(),
            weights_BCHW.flatten().tolist()))
    expected = [seen[value] for value in images_BCHW.flatten().tolist()]
    assert gradient_BCHW.flatten().tolist() == expected


def test_the_whole_image_without_flip_is_the_image() -> None:
    images_BCHW = torch.rand(6, 3, 9, 12)
    augment = RandomResizedCropFlip((1.0, 1.0), 0.0)
    torch.testing.assert_close(
        augment(images_BCHW, stream()), images_BCHW, rtol=0, atol=1e-5)
    augment = RandomResizedCropFlip((1, 1), 1.0)
    torch.testing.assert_close(
        augment(images_BCHW, stream()), images_BCHW.flip(3), rtol=0, atol=1e-5)


def ramps(batch: int, height: int, width: int) -> Tensor:
    """Images whose two channels say where a pixel is: x and y in [-1, 1]."""
    x_W = (2 * torch.arange(width) + 1) / width - 1
    y_H = (2 * torch.arange(height) + 1) / height - 1
    return torch.stack(
        (x_W.expand(height,
                    -1), y_H[:, None].expand(-1,
                                             width))).repeat(batch, 1, 1, 1)


def parts(views_BCHW: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of views of ramps: the parts' sides (negative where flipped) and
    centres, both as x and y, and how far from such a part a view is."""
    batch, _, height, width = views_BCHW.shape
    # Outside of its outermost pixels' centres an image has no slope.
    inner = (slice(height // 4,
                   -(height // 4)), slice(width // 4, -(width // 4)))
    target = ramps(1, height, width)[0].double().numpy()
    sides, centres, errors = [], [], []
    for view in views_BCHW.double().numpy():
        fits = [
            np.polyfit(target[i][inner].ravel(), view[i][inner].ravel(), 1)
            for i in range(2)
        ]
        sides.append([fit[0] for fit in fits])
        centres.append([fit[1] for fit in fits])
        errors.append([
            abs(np.polyval(fit, target[i][inner]) - view[i][inner]).max()
            for i, fit in enumerate(fits)
        ])
    return np.array(sides), np.array(centres), np.array(errors)


def test_every_sample_is_an_enlarged_part_of_its_own() -> None:
    augment = MODELS.build(
        dict(
            type='RandomResizedCropFlip',
            scale=(0.3, 0.7),
            flip_probability=0.5))
    sides, centres, errors = parts(augment(ramps(400, 32, 48), stream()))
    # Nothing but a part, enlarged evenly.
    assert errors.max() < 1e-4
    width, height = abs(sides).T
    # In proportion to the image, and never upside down.
    np.testing.assert_allclose(width, height, atol=1e-4)
    assert (sides[:, 1] > 0).all()
    # Inside of the image.
    assert (abs(centres) + abs(sides)).max() < 1 + 1e-4
    # Areas are uniform between their bounds.
    areas = np.sort(width * height)
    assert areas[0] > 0.3 - 1e-4 and areas[-1] < 0.7 + 1e-4
    np.testing.assert_allclose(
        np.quantile(areas, [0.25, 0.5, 0.75]), [0.4, 0.5, 0.6], atol=0.05)
    # Places too, apart from each other; and half of them are flipped.
    room = centres / (1 - abs(sides))
    for axis in range(2):
        np.testing.assert_allclose(
            np.quantile(room[:, axis], [0.25, 0.5, 0.75]), [-0.5, 0, 0.5],
            atol=0.15)
    assert abs(np.corrcoef(room.T)[0, 1]) < 0.2
    assert 0.4 < (sides[:, 0] < 0).mean() < 0.6


def test_enlarged_parts_stay_in_the_range_of_an_image() -> None:
    images_BCHW = torch.rand(20, 3, 8, 8).round()
    views_BCHW = RandomResizedCropFlip((0.1, 1.0))(images_BCHW, stream())
    assert views_BCHW.shape == images_BCHW.shape
    assert views_BCHW.min() >= 0 and views_BCHW.max() <= 1 + 1e-6
    # No black comes in from outside.
    ones_BCHW = torch.ones(20, 3, 8, 8)
    torch.testing.assert_close(
        RandomResizedCropFlip((0.1, 1.0))(ones_BCHW, stream()), ones_BCHW)


def test_the_gradient_of_an_enlarged_part_is_its_slope() -> None:
    images_BCHW = torch.rand(3, 1, 6, 6)
    weights_BCHW = torch.randn(3, 1, 6, 6)

    def value(images_BCHW: Tensor) -> Tensor:
        views_BCHW = RandomResizedCropFlip()(images_BCHW, stream())
        return (views_BCHW * weights_BCHW).sum()

    images_BCHW.requires_grad_()
    gradient_BCHW, = torch.autograd.grad(value(images_BCHW), images_BCHW)
    direction_BCHW = torch.randn(3, 1, 6, 6)
    # It is linear in the image, so one step of any length will do.
    difference = value(images_BCHW + direction_BCHW) - value(images_BCHW)
    torch.testing.assert_close(
        (gradient_BCHW * direction_BCHW).sum(),
        difference,
        rtol=1e-4,
        atol=1e-4)
    # Every sample has one, from pixels of its part and no others.
    seen_B = (gradient_BCHW != 0).flatten(1).float().mean(1)
    assert (seen_B > 0).all() and (seen_B < 1).any()


@pytest.mark.parametrize('options, changed', [
    (dict(scale=(0.0, 1.0)), 'scale'),
    (dict(scale=(0.5, 0.2)), 'scale'),
    (dict(scale=(0.5, 1.1)), 'scale'),
    (dict(scale=0.5), 'scale'),
    (dict(scale=(0.5, )), 'scale'),
    (dict(flip_probability=1.5), 'flip_probability'),
])
def test_a_bad_part_names_what_to_change(options: dict, changed: str) -> None:
    with pytest.raises(UserError, match=f'set .*{changed}') as caught:
        RandomResizedCropFlip(**options)
    assert f'got {options[changed]!r}' in str(caught.value)
    assert 'RandomResizedCropFlip' in str(caught.value)


@pytest.mark.parametrize('max_pixels', [-1, 0.5, '2'])
def test_a_shift_that_is_no_count_names_what_to_change(
        max_pixels: object) -> None:
    with pytest.raises(UserError, match='set the RandomShift.max_pixels'):
        RandomShift(max_pixels)
