"""CIFAR with clear answers where files are missing."""
from pathlib import Path
from typing import Any

import mmengine.dist
import mmpretrain.datasets
from mmpretrain.datasets.utils import download_and_extract_archive

from tadfkd.datasets.files import find_folder, warn_of_changed_files
from tadfkd.registry import DATASETS
from tadfkd.utils.errors import UserError


class _LocalCIFAR(mmpretrain.datasets.CIFAR10):
    """mmpretrain's reader, but files in the format of CIFAR are accepted
    with a warning if they are not the published ones.

    Args:
        data_root: The folder that holds, or gets, the unpacked archive.
        split: ``'train'`` or ``'test'``.
        **base: Everything else of mmpretrain's ``CIFAR10``.
    """

    def __init__(self, data_root: str, split: str, **base: Any) -> None:
        if split not in ('train', 'test'):
            raise UserError("split must be 'train' or 'test', got "
                            f'{split!r}: set split of the data set')
        super().__init__(
            data_root=data_root,
            split=split,
            test_mode=split == 'test',
            **base)

    def load_data_list(self) -> list[dict]:
        """One dictionary an image, with ``img`` and ``gt_label``.

        Raises:
            UserError: If files are missing and cannot be downloaded.
        """
        root = Path(self.data_prefix['root'])
        folder = root / self.base_folder
        if mmengine.dist.is_main_process():
            if not self._check_integrity():
                try:
                    download_and_extract_archive(
                        self.url,
                        str(root),
                        filename=self.filename,
                        md5=self.tgz_md5)
                except (OSError, RuntimeError) as error:
                    raise UserError(
                        f'{type(self).__name__} is not in {folder} and '
                        f'{self.url} cannot be downloaded ({error}): unpack '
                        f'{self.filename} in {root}, or train with --no-eval'
                    ) from error
            warn_of_changed_files(folder, dict(self._split_files()))
        mmengine.dist.barrier()
        return super().load_data_list()

    def _split_files(self) -> list:
        return self.train_list if self.split == 'train' else self.test_list

    def _check_integrity(self) -> bool:
        folder = Path(self.data_prefix['root']) / self.base_folder
        names = [name for name, _ in self._split_files()]
        return find_folder([folder], names) is not None


@DATASETS.register_module()
class CIFAR10(_LocalCIFAR):
    """32x32 RGB images, 50 000 and 10 000, 10 classes."""


@DATASETS.register_module()
class CIFAR100(_LocalCIFAR, mmpretrain.datasets.CIFAR100):
    """32x32 RGB images, 50 000 and 10 000, 100 classes."""
