"""Generated images by the teacher's class."""
import numpy as np
import pytest
from PIL import Image

from tadfkd.report.sample_figure import SIGNAL, draw_samples


def draw(images_BHWC: np.ndarray,
         classes_B: list[int],
         kept_B: list[bool] | None = None,
         num_classes: int = 3,
         columns: int = 16) -> np.ndarray:
    """The figure's pixels without caption, shape (H, W, 3)."""
    size = len(classes_B)
    return np.asarray(
        draw_samples(images_BHWC, classes_B,
                     [1 - i / 100
                      for i in range(size)], kept_B or [True] * size,
                     [*map(str, range(num_classes))], [], columns))


def is_at(pixels_HWC: np.ndarray, tile_HWC: np.ndarray) -> tuple[int, int]:
    """Row and column of pixels at which a tile begins."""
    height, width = tile_HWC.shape[:2]
    places = [
        (row, column) for row, column in np.argwhere((
            pixels_HWC == tile_HWC[0, 0]).all(2)).tolist()
        if np.array_equal(pixels_HWC[row:row + height,
                                     column:column + width], tile_HWC)
    ]
    [place] = places
    return place


def colour(name: str) -> np.ndarray:
    """Red, green and blue of a colour."""
    return np.asarray(Image.new('RGB', (1, 1), name))[0, 0]


def test_images_are_enlarged_and_sorted_by_class_and_confidence() -> None:
    images_BHWC = np.random.default_rng(0).integers(
        0, 255, (4, 24, 24, 1), dtype=np.uint8)
    pixels_HWC = draw(images_BHWC, [2, 0, 2, 2], [False, True, True, True])
    # By whole numbers: 24 pixels become 72.
    tiles = [
        np.kron(image_HWC, np.ones((3, 3, 3), np.uint8))
        for image_HWC in images_BHWC
    ]
    places = [is_at(pixels_HWC, tile_HWC) for tile_HWC in tiles[1:]]
    (row, column), second, third = places
    height = pixels_HWC.shape[0] // 3
    assert abs(second[0] - row - 2 * height) < height / 3
    assert second == (third[0], third[1] - 78) and second[1] == column
    # The first image is refused: the last one in its row, pale, in a frame.
    top, left = third[0], third[1] + 78
    pale_HWC = pixels_HWC[top:top + 72, left:left + 72]
    assert np.abs(pale_HWC - (255 - 0.4 *
                              (255 - tiles[0].astype(float)))).max() <= 1
    assert (pixels_HWC[top - 1, left:left + 72] == colour(SIGNAL)).all()
    # No image has class 1, so that its row has one colour and no tile.
    middle_HWC = pixels_HWC[row + height:row + height + 60, column:]
    assert len(np.unique(middle_HWC.reshape(-1, 3), axis=0)) == 1
    assert (middle_HWC[0, 0] != 255).any()


@pytest.mark.parametrize('channels, shown', [(2, [0, 0, 0]), (5, [0, 1, 2])])
def test_images_of_other_channels_are_shown_too(channels: int,
                                                shown: list[int]) -> None:
    images_BHWC = np.random.default_rng(0).integers(
        0, 255, (1, 64, 64, channels), dtype=np.uint8)
    is_at(draw(images_BHWC, [0]), images_BHWC[0][..., shown])


def test_a_row_that_is_too_short_shows_kept_and_refused_images() -> None:
    values = np.arange(9, dtype=np.uint8)
    images_BHWC = np.broadcast_to(20 * values[:, None, None, None],
                                  (9, 64, 64, 1))
    pixels_HWC = draw(
        images_BHWC, [0] * 9, [True] * 6 + [False] * 3, columns=3)
    black = is_at(pixels_HWC, np.zeros((64, 64, 3), np.uint8))
    found = [
        int(pixels_HWC[black[0] + 9, black[1] + 9 + 70 * i, 0])
        for i in range(3)
    ]
    assert found == [0, 80, round(255 - 0.4 * (255 - 160))]


@pytest.mark.parametrize('num_classes, num_shown', [(100, 100), (1000, 200)])
def test_many_classes_have_one_tile_each(num_classes: int,
                                         num_shown: int) -> None:
    images_BHWC = np.zeros((3, 224, 224, 3), np.uint8)
    pixels_HWC = draw(images_BHWC, [7, 7, 9], num_classes=num_classes)
    # Large images are made smaller, and eleven fit into a row.
    assert pixels_HWC.shape[1] <= 1600
    columns = pixels_HWC.shape[1] // 134
    assert pixels_HWC.shape[0] == 12 + -(-num_shown // columns) * (128 + 24)
    black_HW = (pixels_HWC == 0).all(2)
    assert 2 * 128**2 <= black_HW.sum() < 2.1 * 128**2
