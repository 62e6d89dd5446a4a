"""Evaluation images from any data set of images and labels."""
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.utils.data import Dataset

from tadfkd.errors import UserError
from tadfkd.registry import DATASETS


@DATASETS.register_module()
class LabelledImages(Dataset):
    """Pairs of an image and a label, as torchvision's data sets give them.

    An image is a PIL image; an array of 0 to 255, uint8, (H, W) or (H, W, C);
    or a tensor of [0, 1], (C, H, W), as ``ToTensor`` gives it.

    Args:
        pairs: The data set: anything with a length and numbered items, within
            a :class:`~tadfkd.classifiers.own_network.LiveObject`.
        image_size: Height and width to which images are resized.
        num_channels: 1 or 3, of the images.
        num_classes: Labels are 0 to ``num_classes`` - 1.

    Raises:
        UserError: If there are no pairs; and when an item is read that is
            another thing.

    Example:
        >>> pairs = LiveObject([(torch.ones(1, 8, 8), 3)])
        >>> item = LabelledImages(pairs, (8, 8), 1, num_classes=10)[0]
        >>> item['inputs'].max(), item['data_samples'].gt_label
        (tensor(255.), tensor([3]))
    """

    #: mmengine's loops read this attribute.
    metainfo: dict = {}

    def __init__(self, pairs: Any, image_size: tuple[int, int],
                 num_channels: int, num_classes: int) -> None:
        self.pairs = getattr(pairs, 'value', pairs)
        self.image_size = tuple(image_size)
        self.num_channels = num_channels
        self.num_classes = num_classes
        if isinstance(self.pairs,
                      str) or not (hasattr(self.pairs, '__len__')
                                   and hasattr(self.pairs, '__getitem__')):
            raise UserError(
                f'test_data is {_shown(self.pairs)}, but must be a data set '
                'of (image, label) pairs with a length: give such a data set, '
                'not its loader')
        if len(self.pairs) == 0:
            raise UserError('test_data is empty: give a data set with images, '
                            'or leave test_data out')

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pair = self.pairs[index]
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise UserError(f'item {index} of test_data is {_shown(pair)}, '
                            'but must be a pair of an image and a label: '
                            'change the data set')
        image, label = pair
        try:
            label = int(label)
        except (TypeError, ValueError):
            label = -1
        if not 0 <= label < self.num_classes:
            raise UserError(
                f'label {_shown(pair[1])} of item {index} of test_data is not '
                f'a whole number of 0 to {self.num_classes - 1}, which are '
                'the classes of the teacher: change the data set')
        return dict(
            inputs=self._in_255(image, index),
            data_samples=DataSample().set_gt_label(label))

    def _in_255(self, image: Any, index: int) -> Tensor:
        """The (C, H, W) float image of [0, 255] at the asked size."""
        if isinstance(image, Tensor):
            values_CHW = image.float()
            if values_CHW.ndim == 2:
                values_CHW = values_CHW[None]
            if values_CHW.min() < 0 or values_CHW.max() > 1:
                raise UserError(
                    f'image {index} of test_data has values from '
                    f'{values_CHW.min():.3g} to {values_CHW.max():.3g}, but '
                    'tensors must be in [0, 1]: leave the normalisation out '
                    "of the data set's transform, the teacher has its own")
            values_CHW = values_CHW * 255
        else:
            values = np.asarray(image)
            if values.dtype != np.uint8:
                raise UserError(
                    f'image {index} of test_data is {_shown(image)}, but must '
                    'be a PIL image in mode L or RGB, an array of uint8 or a '
                    'tensor of [0, 1]: change the transform of the data set')
            values_HWC = values[..., None] if values.ndim == 2 else values
            values_CHW = torch.tensor(values_HWC).movedim(-1, 0).float()
        if len(values_CHW) != self.num_channels or values_CHW.ndim != 3:
            raise UserError(
                f'image {index} of test_data has the shape '
                f'{tuple(values_CHW.shape)} of channels, height and width, '
                f'but the run makes images of {self.num_channels} channels: '
                'convert the images in the data set')
        if values_CHW.shape[1:] != self.image_size:
            values_CHW = F.interpolate(
                values_CHW[None],
                self.image_size,
                mode='bilinear',
                antialias=True)[0]
        return values_CHW


def _shown(value: Any) -> str:
    """A value for a message: short, or its type."""
    text = repr(value)
    return text if len(text) <= 40 else f'a {type(value).__name__}'
