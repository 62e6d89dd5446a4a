"""Fashion-MNIST, from hand-made files."""
import gzip
import urllib.error
import urllib.request
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from tadfkd.datasets import FashionMNIST
from tadfkd.errors import UserError

IMAGES = {
    'train': 'train-images-idx3-ubyte.gz',
    'test': 't10k-images-idx3-ubyte.gz'
}
LABELS = {
    'train': 'train-labels-idx1-ubyte.gz',
    'test': 't10k-labels-idx1-ubyte.gz'
}


def idx(values: np.ndarray) -> bytes:
    """A gzipped IDX file of bytes, written from its description."""
    sizes = b''.join(size.to_bytes(4, 'big') for size in values.shape)
    header = bytes([0, 0, 8, values.ndim])
    return gzip.compress(header + sizes + values.astype(np.uint8).tobytes())


def write_files(folder: Path, split: str,
                seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Five random images and their labels, as the two files of a split."""
    random = np.random.default_rng(seed)
    images_NHW = random.integers(256, size=(5, 28, 28))
    labels_N = random.integers(10, size=5)
    (folder / IMAGES[split]).write_bytes(idx(images_NHW))
    (folder / LABELS[split]).write_bytes(idx(labels_N))
    return images_NHW, labels_N


@pytest.fixture
def no_debian(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a machine without Debian's package."""
    monkeypatch.setattr(FashionMNIST, 'DEBIAN_FOLDER', str(tmp_path / 'none'))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """As on a machine without network; the addresses that were tried."""
    tried = []

    def refuse(request: urllib.request.Request, **_: object) -> NoReturn:
        tried.append(request.full_url)
        raise urllib.error.URLError('no network')

    monkeypatch.setattr('urllib.request.urlopen', refuse)
    return tried


@pytest.mark.parametrize('split', ['train', 'test'])
def test_files_are_read_in_place_pixel_by_pixel(tmp_path: Path,
                                                no_network: list[str],
                                                split: str) -> None:
    expected = {
        name: write_files(tmp_path, name, seed)
        for seed, name in enumerate(IMAGES)
    }
    before = sorted(tmp_path.iterdir())
    dataset = FashionMNIST(split, str(tmp_path))
    images_NHW, labels_N = expected[split]
    assert len(dataset) == 5
    for i, (image_HW, label) in enumerate(zip(images_NHW, labels_N)):
        assert dataset[i]['img'].dtype == np.uint8
        np.testing.assert_array_equal(dataset[i]['img'], image_HW[..., None])
        assert dataset[i]['gt_label'] == label
    assert sorted(tmp_path.iterdir()) == before
    assert not no_network


def test_no_files_and_no_network_say_where_to_put_them(
        tmp_path: Path, no_debian: None, no_network: list[str]) -> None:
    folder = tmp_path / 'data'
    with pytest.raises(UserError) as error:
        FashionMNIST('test', str(folder))
    assert str(folder / IMAGES['test']) in str(error.value)
    assert '--no-eval' in str(error.value)
    assert [url.rpartition('/')[2] for url in no_network] == [IMAGES['test']]
    assert not [*folder.iterdir()]


def damaged(content: bytes, how: str) -> bytes:
    """A file that something happened to."""
    if how == 'cut off':
        return content[:len(content) // 2]
    if how == 'no gzip':
        return b'<html>404</html>'
    if how == 'too short inside':
        return gzip.compress(gzip.decompress(content)[:-1])
    assert how == 'overwritten'
    # The table of codes, just behind the header.
    return content[:12] + b'\xff' * 8 + content[20:]


@pytest.mark.parametrize(
    'how', ['cut off', 'no gzip', 'too short inside', 'overwritten'])
def test_a_damaged_file_is_a_user_error(tmp_path: Path, how: str) -> None:
    # Compressible, so that there are codes that can be wrong.
    pixels = np.arange(20 * 28 * 28).reshape(20, 28, 28) // 97 % 256
    write_files(tmp_path, 'test', 0)
    path = tmp_path / IMAGES['test']
    path.write_bytes(damaged(idx(pixels), how))
    with pytest.raises(UserError, match=f'{path} is damaged'):
        FashionMNIST('test', str(tmp_path))
