"""Tiny-ImageNet, read from its unpacked archive."""
from pathlib import Path
from typing import Any, Literal

from mmpretrain.datasets import BaseDataset

from tadfkd.errors import UserError, require_choice
from tadfkd.registry import DATASETS


@DATASETS.register_module()
class TinyImageNet(BaseDataset):
    """64x64 RGB images, 100 000 and 10 000, 200 classes, as JPEG files.

    Classes are numbered in the sorted order of their WordNet ids. The
    ``'test'`` split is the published validation split, whose labels are
    known.

    Args:
        split: ``'train'`` or ``'test'``.
        data_root: The folder ``tiny-imagenet-200`` of the archive.
        **base: Other arguments of mmpretrain's ``BaseDataset``.
    """

    URL = 'http://cs231n.stanford.edu/tiny-imagenet-200.zip'

    def __init__(self,
                 split: Literal['train', 'test'],
                 data_root: str = 'data/tiny-imagenet-200',
                 **base: Any) -> None:
        require_choice('dataset', 'split', split, ('train', 'test'))
        self.split = split
        super().__init__(
            ann_file='',
            data_root=data_root,
            test_mode=split == 'test',
            **base)

    def load_data_list(self) -> list[dict]:
        """One dictionary per image, with ``img_path`` and ``gt_label``."""
        root = Path(self.data_root)
        annotations = root / 'val' / 'val_annotations.txt'
        if not annotations.is_file() or not (root / 'wnids.txt').is_file():
            raise UserError(f'Tiny-ImageNet is not in {root}: unpack '
                            f'{self.URL} there, or train with --no-eval')
        names = sorted((root / 'wnids.txt').read_text().split())
        labels = {name: label for label, name in enumerate(names)}
        if self.split == 'train':
            pairs = [(path, name) for name in names
                     for path in sorted((root / 'train' / name /
                                         'images').glob('*.JPEG'))]
        else:
            rows = [
                line.split('\t')
                for line in annotations.read_text().splitlines()
            ]
            pairs = [(root / 'val' / 'images' / row[0], row[1])
                     for row in rows]
        return [
            dict(img_path=str(path), gt_label=labels[name])
            for path, name in pairs
        ]
