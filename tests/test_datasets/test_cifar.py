"""CIFAR, from hand-made files in its format."""
import pickle
import urllib.error
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from tadfkd.datasets import CIFAR10, CIFAR100
from tadfkd.errors import UserError

FOLDERS = {CIFAR10: 'cifar-10-batches-py', CIFAR100: 'cifar-100-python'}
FILES = {
    (CIFAR10, 'train'): [f'data_batch_{i}' for i in range(1, 6)],
    (CIFAR10, 'test'): ['test_batch'],
    (CIFAR100, 'train'): ['train'],
    (CIFAR100, 'test'): ['test']
}


def write_split(root: Path, kind: type,
                split: str) -> tuple[np.ndarray, np.ndarray]:
    """Three random images in each file of a split.

    As the data set's page says: rows of 3072 bytes, the first 1024 of which
    are the red channel, row by row, then green, then blue.
    """
    folder = root / FOLDERS[kind]
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(len(split))
    images, labels = [], []
    for name in FILES[kind, split]:
        pixels_NHWC = random.integers(256, size=(3, 32, 32, 3), dtype=np.uint8)
        classes = random.integers(len(kind.METAINFO['classes']), size=3)
        rows = [
            np.concatenate([image_HWC[..., c].ravel() for c in range(3)])
            for image_HWC in pixels_NHWC
        ]
        key = 'labels' if kind is CIFAR10 else 'fine_labels'
        entry = {'data': np.stack(rows), key: classes.tolist()}
        if kind is CIFAR100:
            entry['coarse_labels'] = [0, 0, 0]
        (folder / name).write_bytes(pickle.dumps(entry, protocol=2))
        images.append(pixels_NHWC)
        labels.append(classes)
    return np.concatenate(images), np.concatenate(labels)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """As on a machine without network; the addresses that were tried."""
    tried = []

    def refuse(request: object, **_: object) -> NoReturn:
        tried.append(getattr(request, 'full_url', request))
        raise urllib.error.URLError('no network')

    monkeypatch.setattr('urllib.request.urlopen', refuse)
    return tried


@pytest.mark.parametrize(('kind', 'split'), list(FILES))
def test_pixels_and_labels_are_those_of_the_files(tmp_path: Path, kind: type,
                                                  split: str,
                                                  no_network: list) -> None:
    images_NHWC, labels_N = write_split(tmp_path, kind, split)
    dataset = kind(str(tmp_path), split)
    assert len(dataset) == len(images_NHWC) == 3 * len(FILES[kind, split])
    for i, (image_HWC, label) in enumerate(zip(images_NHWC, labels_N)):
        np.testing.assert_array_equal(dataset[i]['img'], image_HWC)
        assert dataset[i]['gt_label'] == label
    assert len(dataset.metainfo['classes']) == (10 if kind is CIFAR10 else 100)
    assert not no_network


@pytest.mark.parametrize('kind', [CIFAR10, CIFAR100])
def test_missing_files_without_network_say_what_to_unpack_where(
        tmp_path: Path, kind: type, no_network: list[str]) -> None:
    # The files of the other split do not count.
    write_split(tmp_path, kind, 'train')
    with pytest.raises(UserError) as error:
        kind(str(tmp_path), 'test')
    message = str(error.value)
    assert f'{kind.__name__} is not in {tmp_path / FOLDERS[kind]}' in message
    assert f'unpack {kind.filename} in {tmp_path}' in message
    assert '--no-eval' in message
    # The published archive was tried, and nothing else.
    assert {url.partition('://')[2]
            for url in no_network} == {kind.url.partition('://')[2]}


@pytest.mark.parametrize('content', [b'', b'<html>404</html>', b'cut'])
def test_a_damaged_file_is_a_user_error(tmp_path: Path,
                                        content: bytes) -> None:
    write_split(tmp_path, CIFAR10, 'test')
    path = tmp_path / FOLDERS[CIFAR10] / 'test_batch'
    if content == b'cut':
        content = path.read_bytes()[:-500]
    path.write_bytes(content)
    with pytest.raises(UserError, match='test_batch'):
        CIFAR10(str(tmp_path), 'test')
