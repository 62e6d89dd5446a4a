"""Generated images as a figure, sorted by the teacher's class."""
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

#: Widest figure, in pixels.
MAX_WIDTH = 1600
#: With more classes, a class has one tile and not a row.
MAX_ROWS = 20
#: With more classes, only the first ones are shown.
MAX_CLASSES = 200
#: Colour of what is refused or missing.
SIGNAL = '#c2410c'
_INK, _FAINT, _TINT = '#1a1a1a', '#6b6b6b', '#fdeee4'
_GAP, _LABEL_WIDTH, _LARGEST_SIDE = 6, 150, 128


def draw_samples(images_BHWC: np.ndarray,
                 classes_B: Sequence[int],
                 confidence_B: Sequence[float],
                 kept_B: Sequence[bool],
                 names: Sequence[str],
                 caption: Sequence[str],
                 columns: int = 16,
                 min_side: int = 64) -> Image.Image:
    """Draw images in rows of one class each, the surest first.

    A class without image has a tinted row. Refused images are pale and have
    a frame. With more than 20 classes, each class has one tile, its surest
    image, and a class without image has an empty frame.

    Args:
        images_BHWC: uint8. Of images that are neither grey nor RGB, the first
            three channels are shown, or the first of two.
        classes_B: The teacher's class of each image.
        confidence_B: The teacher's largest probability, in [0, 1].
        kept_B: Whether the selector keeps an image.
        names: The K names of the classes.
        caption: Lines above the images.
        columns: Images per row, >= 1. Fewer fit if images are wide.
        min_side: Small images are enlarged by a whole number until their
            shorter side has at least this many pixels.

    Returns:
        An RGB image, at most 1600 pixels wide.
    """
    tiles = [_tile(image_HWC, min_side) for image_HWC in images_BHWC]
    width, height = tiles[0].size if tiles else (min_side, min_side)
    order = sorted(
        range(len(tiles)), key=lambda i: (not kept_B[i], -confidence_B[i]))
    groups = [[i for i in order if classes_B[i] == label]
              for label in range(min(len(names), MAX_CLASSES))]
    has_rows = len(names) <= MAX_ROWS
    left = _LABEL_WIDTH if has_rows else _GAP
    columns = max(1, min(columns, (MAX_WIDTH - left) // (width + _GAP)))
    row_height = height + 18 + _GAP
    num_rows = len(groups) if has_rows else -(-len(groups) // columns)

    total = left + columns * (width + _GAP)
    lines = [line for text in caption for line in _wrapped(text, total - 12)]
    top = 12 + 20 * len(lines)
    picture = Image.new('RGB', (total, top + num_rows * row_height), 'white')
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        draw.text((_GAP, 6 + 20 * number), line, _INK, _font(14))

    def place(index: int | None, text: str, row: int, column: int) -> None:
        x, y = left + column * (width + _GAP), top + row * row_height
        box = (x - 2, y - 2, x + width + 1, y + height + 1)
        if index is None:
            draw.rectangle(box, _TINT, SIGNAL)
        elif kept_B[index]:
            picture.paste(tiles[index], (x, y))
        else:
            pale = Image.blend(tiles[index],
                               Image.new('RGB', (width, height), 'white'), 0.6)
            draw.rectangle(box, SIGNAL)
            picture.paste(pale, (x, y))
        is_good = index is not None and kept_B[index]
        draw.text((x, y + height + 2), text, _FAINT if is_good else SIGNAL,
                  _font(11))

    for label, group in enumerate(groups):
        if not has_rows:
            text = f'{label}: {confidence_B[group[0]]:.2f}' if group \
                else f'{label}: none'
            place(group[0] if group else None, text, *divmod(label, columns))
            continue
        y = top + label * row_height
        if not group:
            draw.rectangle((0, y - 4, total, y + row_height - 8), _TINT)
        draw.text((_GAP, y + 4), _shortened(names[label]), _INK, _font(16))
        # All are sorted, so the shown ones are too, and have refused ones.
        chosen = [
            group[round(place)]
            for place in np.linspace(0,
                                     len(group) - 1, min(columns, len(group)))
        ]
        counts = f'{len(group)} images' if len(group) != 1 else '1 image'
        if len(chosen) < len(group):
            counts += f', {len(chosen)} shown'
        draw.text((_GAP, y + 26), counts if group else 'no image',
                  _FAINT if group else SIGNAL, _font(12))
        for column, index in enumerate(chosen):
            place(index, f'{confidence_B[index]:.2f}', label, column)
    return picture


def _tile(image_HWC: np.ndarray, min_side: int) -> Image.Image:
    channels = image_HWC.shape[2]
    shown_HWC = image_HWC[..., :3] if channels >= 3 else np.repeat(
        image_HWC[..., :1], 3, 2)
    height, width = shown_HWC.shape[:2]
    factor = -(-min_side // min(height, width))
    shown_HWC = np.kron(shown_HWC, np.ones((factor, factor, 1), np.uint8))
    tile = Image.fromarray(shown_HWC)
    # Images that are large already are made smaller.
    tile.thumbnail((max(_LARGEST_SIDE, min_side * 2), ) * 2)
    return tile


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib
    return ImageFont.truetype(
        # Pillow takes a Path only from 10.1 on.
        str(
            Path(matplotlib.get_data_path(), 'fonts', 'ttf',
                 'DejaVuSans.ttf')),
        size)


def _shortened(name: str) -> str:
    while _font(16).getlength(name) > _LABEL_WIDTH - 2 * _GAP:
        name = name.removesuffix('…')[:-1] + '…'
    return name


def _wrapped(text: str, width: int) -> list[str]:
    lines = ['']
    for word in text.split():
        longer = f'{lines[-1]} {word}'.strip()
        if lines[-1] and _font(14).getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
