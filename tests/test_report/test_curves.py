"""The curves of a run as a picture."""
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from tadfkd.report.curves import draw_curves


def history(accuracies: list[float | None],
            bn_distance: float | None = 3.0) -> dict:
    """As in ``history.json``."""
    return dict(
        teacher_top1=99.0,
        seconds=1.0,
        epochs=[
            dict(
                epoch=epoch,
                student_top1=accuracy,
                selection_rate=70.0 + epoch,
                agreement=60.0 + epoch,
                bn_distance=bn_distance and bn_distance / epoch,
                class_histogram=[1, 2])
            for epoch, accuracy in enumerate(accuracies, start=1)
        ])


def draw(path: Path, **parts: object) -> np.ndarray:
    """The picture's pixels, shape (H, W, 3); a warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        draw_curves(history(**parts), path)
    with Image.open(path) as picture:
        assert picture.format == 'PNG'
        return np.asarray(picture.convert('RGB'))


def has_colour(pixels_HWC: np.ndarray, colour: tuple[int, int, int]) -> bool:
    """Whether a curve of that colour is in the picture."""
    near_HW = (np.abs(pixels_HWC.astype(int) - colour) < 20).all(-1)
    return np.count_nonzero(near_HW) > 20


BLUE, ORANGE, GREEN, RED = ((31, 119, 180), (255, 127, 14), (44, 160, 44),
                            (214, 39, 40))


def test_all_four_curves_are_drawn(tmp_path: Path) -> None:
    pixels_HWC = draw(tmp_path / 'curves.png', accuracies=[10.0, 50.0, 60.0])
    for colour in (BLUE, ORANGE, GREEN, RED):
        assert has_colour(pixels_HWC, colour), colour


def test_a_teacher_without_batch_norm_has_no_distance_to_draw(
        tmp_path: Path) -> None:
    pixels_HWC = draw(
        tmp_path / 'curves.png',
        accuracies=[10.0, None, 60.0],
        bn_distance=None)
    # The curve of the accuracy bridges the epoch without a value.
    assert has_colour(pixels_HWC, BLUE)
    assert not has_colour(pixels_HWC, RED)
