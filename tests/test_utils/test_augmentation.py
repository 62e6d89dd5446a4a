"""Crops and flips against a slow loop over samples."""
import pytest
import torch
from torch import Tensor

from tadfkd.registry import MODELS
from tadfkd.utils.augmentation import RandomCropFlip
from tadfkd.utils.errors import UserError


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


def test_the_stream_alone_decides() -> None:
    images_BCHW, augment = distinct(), RandomCropFlip(2)
    one = augment(images_BCHW, stream())
    torch.rand(17)
    assert torch.equal(augment(images_BCHW, stream()), one)
    assert not torch.equal(augment(images_BCHW, stream(1)), one)
    used = stream()
    augment(images_BCHW, used)
    assert not torch.equal(augment(images_BCHW, used), one)


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    RandomCropFlip(2)(distinct(), stream())
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
