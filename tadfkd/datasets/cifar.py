"""CIFAR-10 and CIFAR-100; missing or damaged files are clear errors."""
import pickle
from pathlib import Path
from typing import Any, Literal

import mmengine.dist
import mmpretrain.datasets
import numpy as np
from mmpretrain.datasets.utils import download_and_extract_archive

from tadfkd.datasets.download import (find_folder, is_first_on_machine,
                                      warn_of_changed_files)
from tadfkd.errors import UserError, require_choice
from tadfkd.registry import DATASETS


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles arrays and plain containers, but refuses code."""

    ALLOWED = {
        ('numpy', 'ndarray'),
        ('numpy', 'dtype'),
        ('numpy.core.multiarray', '_reconstruct'),
        ('numpy._core.multiarray', '_reconstruct'),
        ('_codecs', 'encode'),
    }

    def find_class(self, module: str, name: str) -> Any:
        """Look up a global that the file names."""
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f'{module}.{name} is code')
        return super().find_class(module, name)


class _LocalCIFAR(mmpretrain.datasets.CIFAR10):
    """mmpretrain's CIFAR with its own reader.

    It accepts any files in CIFAR's format, and warns if they are not the
    published ones.

    Args:
        data_root: The folder of the unpacked archive. A missing archive is
            downloaded to this folder.
        split: ``'train'`` or ``'test'``.
        **base: Other arguments of mmpretrain's ``CIFAR10``.
    """

    def __init__(self, data_root: str, split: Literal['train', 'test'],
                 **base: Any) -> None:
        require_choice('dataset', 'split', split, ('train', 'test'))
        super().__init__(
            data_root=data_root,
            split=split,
            test_mode=split == 'test',
            **base)

    def load_data_list(self) -> list[dict]:
        """One dictionary per image, with ``img`` and ``gt_label``.

        Raises:
            UserError: If files are damaged, or missing and cannot be
                downloaded.
        """
        root = Path(self.data_prefix['root'])
        folder = root / self.base_folder
        files = dict(self.train_list if self.split ==
                     'train' else self.test_list)
        if is_first_on_machine():
            if find_folder([folder], list(files)) is None:
                self._download(root, folder)
            warn_of_changed_files(folder, files)
        mmengine.dist.barrier()
        return [
            dict(
                img=image.reshape(3, 32, 32).transpose(1, 2, 0),
                gt_label=int(label)) for name in files
            for image, label in zip(*_read_batch(folder / name))
        ]

    def _download(self, root: Path, folder: Path) -> None:
        try:
            download_and_extract_archive(
                self.url, str(root), filename=self.filename, md5=self.tgz_md5)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f'{type(self).__name__} is not in {folder} and {self.url} '
                f'cannot be downloaded ({error}): unpack {self.filename} in '
                f'{root}, or train with --no-eval') from error


def _read_batch(path: Path) -> tuple[np.ndarray, list[int]]:
    """Rows of 3072 bytes, and one label per row.

    Raises:
        UserError: If the file is damaged.
    """
    try:
        with open(path, 'rb') as file:
            batch = _ArrayUnpickler(file, encoding='latin1').load()
        labels = batch['labels'] if 'labels' in batch else batch['fine_labels']
        rows = np.asarray(batch['data'], np.uint8).reshape(-1, 3072)
        if len(rows) != len(labels):
            raise ValueError(f'{len(rows)} images, {len(labels)} labels')
    except Exception as error:
        # Damaged bytes can raise any exception in unpickling.
        raise UserError(f'{path} is damaged ({error}): delete it so that it '
                        'is downloaded again') from error
    return rows, labels


@DATASETS.register_module()
class CIFAR10(_LocalCIFAR):
    """32x32 RGB images, 50 000 and 10 000, 10 classes."""


@DATASETS.register_module()
class CIFAR100(_LocalCIFAR, mmpretrain.datasets.CIFAR100):
    """32x32 RGB images, 50 000 and 10 000, 100 classes."""
