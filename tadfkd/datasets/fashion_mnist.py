"""Fashion-MNIST, read from its four original files."""
import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import mmengine.dist
import numpy as np
from mmpretrain.datasets import BaseDataset
from mmpretrain.datasets.categories import FASHIONMNIST_CATEGORITES
from torchvision.datasets.utils import download_url

from tadfkd.datasets.download import find_folder, is_first_on_machine
from tadfkd.errors import UserError, require_choice
from tadfkd.registry import DATASETS


@DATASETS.register_module()
class FashionMNIST(BaseDataset):
    """28x28 grey images of clothes, 60 000 and 10 000, 10 classes.

    The original ``.gz`` files are read from ``data_root`` or from the folder
    of Debian's package ``dataset-fashion-mnist``. If neither holds them, they
    are downloaded to ``data_root``. (mmpretrain's reader needs unpacked
    copies and ignores ``split``.)

    Args:
        split: ``'train'`` or ``'test'``.
        data_root: The folder of the files.
        **base: Other arguments of mmpretrain's ``BaseDataset``.
    """

    METAINFO = {'classes': FASHIONMNIST_CATEGORITES}
    DEBIAN_FOLDER = '/usr/share/datasets/fashion-mnist'
    URL = 'http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/'
    FILES = {
        'train': {
            'train-images-idx3-ubyte.gz': '8d4fb7e6c68d591d4c3dfef9ec88bf0d',
            'train-labels-idx1-ubyte.gz': '25c81989df183df01b3e8a0aad5dffbe'
        },
        'test': {
            't10k-images-idx3-ubyte.gz': 'bef4ecab320f06d8554ea6380940ec79',
            't10k-labels-idx1-ubyte.gz': 'bb300cfdad3c16e7a12a480ee83cd310'
        }
    }

    def __init__(self,
                 split: Literal['train', 'test'],
                 data_root: str = 'data/fashion_mnist',
                 **base: Any) -> None:
        require_choice('dataset', 'split', split, self.FILES)
        self.split = split
        super().__init__(
            ann_file='',
            data_root=data_root,
            test_mode=split == 'test',
            **base)

    def load_data_list(self) -> list[dict]:
        """One dictionary per image, with ``img`` and ``gt_label``."""
        files = self.FILES[self.split]
        folders = [Path(self.data_root), Path(self.DEBIAN_FOLDER)]
        if is_first_on_machine() and not find_folder(folders, list(files)):
            self._download(files)
        mmengine.dist.barrier()
        folder = find_folder(folders, list(files))
        if folder is None:
            raise UserError(f'{", ".join(files)} are not in {folders[0]}: '
                            'put them there, or train with --no-eval')
        images, labels = (_read_idx(folder / name) for name in files)
        if len(images) != len(labels):
            raise UserError(f'{folder} has {len(images)} images and '
                            f'{len(labels)} labels of the {self.split} split: '
                            'put the four files of one version there')
        return [
            dict(img=image[..., None], gt_label=int(label))
            for image, label in zip(images, labels)
        ]

    def _download(self, files: Mapping[str, str]) -> None:
        for name, md5 in files.items():
            try:
                download_url(self.URL + name, self.data_root, name, md5)
            except (OSError, RuntimeError) as error:
                raise UserError(
                    f'{Path(self.data_root, name)} is missing and {self.URL}'
                    f'{name} cannot be downloaded ({error}): put the file '
                    'there, or train with --no-eval') from error


def _read_idx(path: Path) -> np.ndarray:
    """Read a gzipped IDX file: zero, zero, type, rank, sizes, bytes.

    Raises:
        UserError: If the file is damaged.
    """
    try:
        content = gzip.decompress(path.read_bytes())
        rank = content[3]
        shape = np.frombuffer(content, '>u4', rank, offset=4)
        return np.frombuffer(
            content, np.uint8, offset=4 + 4 * rank).reshape(shape)
    except (OSError, EOFError, IndexError, ValueError, zlib.error) as error:
        raise UserError(f'{path} is damaged ({error}): delete it so that it '
                        'is downloaded again') from error
