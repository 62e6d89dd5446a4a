"""The classes of image files, by a student."""
import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from tadfkd.errors import UserError, reason_of, require_at_least
from tadfkd.export.student_module import load_student, read_description


class Prediction(NamedTuple):
    """The answer to one image: its path; its class, by the class's name or by
    its number from 0; and the probability of that class by softmax, in [0, 1].
    """

    path: str
    label: str
    probability: float


@torch.no_grad()
def predict(folder: str | os.PathLike,
            images: Sequence[str | os.PathLike],
            batch_size: int = 64,
            trust_program: bool = False) -> Iterator[Prediction]:
    """Classify image files by the student in a folder.

    Images are turned as their EXIF data say, converted to the student's
    channels, and resized to the size of the images of the run.

    Args:
        folder: The folder ``student/`` of a run.
        images: Files, folders (with all below them), or patterns such as
            ``'photos/*.png'``.
        batch_size: Images per forward pass, >= 1.
        trust_program: See :func:`load_student`.

    Yields:
        The prediction of each image, in the order of ``images``; the files of
        a folder or a pattern are sorted.

    Raises:
        UserError: If the student or an image cannot be read, or if there is
            no image.
    """
    require_at_least('predict', 'batch_size', batch_size, 1)
    description = read_description(folder)
    student = load_student(folder, trust_program=trust_program)
    paths = find_images(images)
    for start in range(0, len(paths), batch_size):
        batch = paths[start:start + batch_size]
        images_BCHW = torch.stack([
            read_image(path, description['channels'],
                       description['image_size']) for path in batch
        ])
        probability_BK = student(images_BCHW).softmax(1)
        for path, best, label in zip(batch, *probability_BK.max(1)):
            classes = description['classes']
            yield Prediction(
                str(path), classes[label] if classes else str(int(label)),
                float(best))


def find_images(images: Iterable[str | os.PathLike]) -> list[Path]:
    """The image files that files, folders and patterns name.

    A folder gives the files whose suffix Pillow knows.

    Raises:
        UserError: If one of them names no image.
    """
    suffixes = Image.registered_extensions()
    found: list[Path] = []
    for image in images:
        path = Path(image)
        if path.is_file():
            paths = [path]
        elif path.is_dir():
            paths = sorted(
                inner for inner in path.rglob('*')
                if inner.suffix.lower() in suffixes and inner.is_file())
        else:
            paths = sorted(
                Path(match)
                for match in glob.glob(os.fspath(image), recursive=True)
                if Path(match).is_file())
        if not paths:
            raise UserError(f'{image} names no image: name image files, '
                            'folders that have some, or patterns such as '
                            "'photos/*.png'")
        found += paths
    return found


def read_image(path: str | os.PathLike, channels: int,
               size: Sequence[int]) -> Tensor:
    """An image as (C, H, W), float32 in [0, 1].

    Args:
        path: A file that Pillow can read.
        channels: 1 for grey, 3 for RGB.
        size: Height and width that the image is resized to (bilinear).

    Raises:
        UserError: If the file cannot be read.
    """
    height, width = size
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file).convert(
                'L' if channels == 1 else 'RGB').resize(
                    (width, height), Image.Resampling.BILINEAR)
    except Exception as error:
        # Damaged bytes can raise any exception in the decoders.
        raise UserError(f'the image {path} cannot be read '
                        f'({reason_of(error)}): leave it out, or save it '
                        'again') from error
    return pil_to_tensor(image).float() / 255
