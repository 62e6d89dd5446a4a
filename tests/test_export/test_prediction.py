"""Classifying image files."""
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.export import predict
from tadfkd.export.prediction import find_images, read_image


@pytest.fixture
def files(images_BCHW: Tensor, tmp_path: Path) -> list[Path]:
    """The five images as files."""
    paths = []
    for index, image_CHW in enumerate(images_BCHW):
        paths.append(tmp_path / f'{index}.png')
        Image.fromarray(
            (image_CHW[0] * 255).round().byte().numpy()).save(paths[-1])
    return paths


def test_each_file_has_its_class_and_probability(run_dir: Path,
                                                 files: list[Path],
                                                 expected_BK: Tensor) -> None:
    predictions = [*predict(run_dir / 'student', files, batch_size=2)]
    assert [found.path for found in predictions] == [*map(str, files)]
    assert [found.label for found in predictions
            ] == [str(int(label)) for label in expected_BK.argmax(1)]
    # A file holds 256 levels of grey.
    assert [found.probability for found in predictions] == pytest.approx(
        expected_BK.softmax(1).max(1).values.tolist(), abs=0.01)


def test_files_folders_and_patterns_are_found_in_order(tmp_path: Path) -> None:
    for name in ('b.png', 'a.JPG', 'inner/c.png', 'notes.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    a, b, c = (tmp_path / name for name in ('a.JPG', 'b.png', 'inner/c.png'))
    assert find_images([b, a]) == [b, a]
    assert find_images([tmp_path]) == [a, b, c]
    assert find_images([tmp_path / '*.png', tmp_path / 'inner']) == [b, c]
    assert find_images([f'{tmp_path}/**/*.png']) == [b, c]
    # A name with brackets is a name first.
    (tmp_path / '[x].png').touch()
    assert find_images([tmp_path / '[x].png']) == [tmp_path / '[x].png']


@pytest.mark.parametrize('name', ['nothing.png', '*.gif', 'empty'])
def test_what_names_no_image_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='names no image'):
        find_images([tmp_path / name])


def test_images_get_the_channels_and_size_of_the_student(
        tmp_path: Path) -> None:
    path = tmp_path / 'image.png'
    Image.new('RGBA', (20, 10), (255, 0, 51, 255)).save(path)
    image_CHW = read_image(path, 3, (4, 6))
    assert image_CHW.shape == (3, 4, 6)
    assert image_CHW[:, 0, 0].tolist() == pytest.approx([1, 0, 0.2])
    grey_CHW = read_image(path, 1, (4, 6))
    # ITU-R 601: 0.299 red + 0.114 blue.
    assert grey_CHW.shape == (1, 4, 6)
    assert grey_CHW.mean() == pytest.approx(0.299 + 0.2 * 0.114, abs=0.004)


def test_a_photo_is_turned_as_its_exif_data_say(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8), np.uint8)
    pixels[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # Upside down.
    Image.fromarray(pixels).save(tmp_path / 'photo.png', exif=exif)
    image_CHW = read_image(tmp_path / 'photo.png', 1, (8, 8))
    assert image_CHW[0, :4].max() == 0 and image_CHW[0, 4:].min() == 1


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / 'damaged.png'
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + bytes(20))
    with pytest.raises(UserError, match='damaged.png cannot be read'):
        read_image(path, 3, (8, 8))
    assert torch.is_grad_enabled()
