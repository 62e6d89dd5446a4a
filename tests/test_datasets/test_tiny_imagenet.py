"""Tiny-ImageNet, from a hand-made tree."""
from pathlib import Path

import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from PIL import Image

from tadfkd.datasets import TinyImageNet
from tadfkd.errors import UserError

# Not in sorted order, as in the published file.
WORDNET_IDS = ['n02124075', 'n01443537', 'n04067472']
GREY = {'n01443537': 40, 'n02124075': 120, 'n04067472': 200}


def write_image(path: Path, wordnet_id: str) -> None:
    """A grey image whose brightness tells its class."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (64, 64), (GREY[wordnet_id], ) * 3).save(path, 'JPEG')


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two training images per class, and three for validation."""
    for wordnet_id in WORDNET_IDS:
        for i in range(2):
            write_image(
                tmp_path / 'train' / wordnet_id / 'images' /
                f'{wordnet_id}_{i}.JPEG', wordnet_id)
        (tmp_path / 'train' / wordnet_id / f'{wordnet_id}_boxes.txt'
         ).write_text(f'{wordnet_id}_0.JPEG\t0\t0\t62\t62\n')
    lines = []
    for i, wordnet_id in enumerate(['n04067472', 'n01443537', 'n04067472']):
        write_image(tmp_path / 'val' / 'images' / f'val_{i}.JPEG', wordnet_id)
        lines.append(f'val_{i}.JPEG\t{wordnet_id}\t0\t32\t44\t62\n')
    (tmp_path / 'val' / 'val_annotations.txt').write_text(''.join(lines))
    (tmp_path / 'wnids.txt').write_text('\n'.join(WORDNET_IDS) + '\n')
    return tmp_path


def labels_and_greys(dataset: TinyImageNet) -> list[tuple[int, int]]:
    """The label and the brightness of each image."""
    load = LoadImageFromFile()
    pairs = []
    for i in range(len(dataset)):
        item = dataset[i]
        image_HWC = load(item)['img']
        assert image_HWC.shape == (64, 64, 3)
        pairs.append((item['gt_label'], int(np.median(image_HWC))))
    return pairs


def test_training_images_are_numbered_by_sorted_class(root: Path) -> None:
    assert labels_and_greys(TinyImageNet('train', str(root))) == [(0, 40),
                                                                  (0, 40),
                                                                  (1, 120),
                                                                  (1, 120),
                                                                  (2, 200),
                                                                  (2, 200)]


def test_the_test_split_is_the_annotated_validation_split(root: Path) -> None:
    assert labels_and_greys(TinyImageNet('test', str(root))) == [(2, 200),
                                                                 (0, 40),
                                                                 (2, 200)]


@pytest.mark.parametrize('missing', ['wnids.txt', 'val/val_annotations.txt'])
def test_a_missing_archive_says_what_to_unpack_where(root: Path,
                                                     missing: str) -> None:
    (root / missing).unlink()
    with pytest.raises(UserError) as error:
        TinyImageNet('test', str(root))
    assert f'Tiny-ImageNet is not in {root}: unpack' in str(error.value)
    assert 'tiny-imagenet-200.zip' in str(error.value)
    assert '--no-eval' in str(error.value)
