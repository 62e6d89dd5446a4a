"""The handwritten digits of scikit-learn, which need no download."""
from typing import Any, Literal

import numpy as np
from mmpretrain.datasets import BaseDataset
from PIL import Image

from tadfkd.errors import UserError, require_at_least, require_choice
from tadfkd.registry import DATASETS


@DATASETS.register_module()
class Digits(BaseDataset):
    """The 1797 real handwritten digits that scikit-learn ships, 10 classes.

    Grey images of 8x8 pixels, resized bilinearly to height x width x 1, uint8.
    The test split is a stratified third (599 images), the same in every run.
    Source: UCI, "Optical Recognition of Handwritten Digits".

    Args:
        split: ``'train'`` or ``'test'``.
        image_size: Height and width after resizing, >= 8.
        **base: Other arguments of mmpretrain's ``BaseDataset``.
    """

    METAINFO = {'classes': tuple('0123456789')}

    def __init__(self,
                 split: Literal['train', 'test'],
                 image_size: int = 16,
                 **base: Any) -> None:
        require_choice('dataset', 'split', split, ('train', 'test'))
        require_at_least('dataset', 'image_size', image_size, 8)
        self.split = split
        self.image_size = image_size
        super().__init__(ann_file='', test_mode=split == 'test', **base)

    def load_data_list(self) -> list[dict]:
        """One dictionary per image, with ``img`` and ``gt_label``."""
        try:
            from sklearn.datasets import load_digits
            from sklearn.model_selection import train_test_split
        except ImportError as error:
            raise UserError(
                'the Digits data set comes with scikit-learn, which is not '
                'installed: run `pip install "tadfkd[digits]"`') from error
        images, labels = load_digits(return_X_y=True)
        train, test = train_test_split(
            np.arange(len(labels)),
            test_size=1 / 3,
            random_state=0,
            stratify=labels)
        pixels = (images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
        size = (self.image_size, self.image_size)
        return [
            dict(
                img=np.asarray(
                    Image.fromarray(pixels[i]).resize(
                        size, Image.Resampling.BILINEAR))[..., None],
                gt_label=int(labels[i]))
            for i in (train if self.split == 'train' else test)
        ]
