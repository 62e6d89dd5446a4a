"""Which views of generated images do the networks see?"""
from tadfkd.augmentations.geometric import (RandomCropFlip,
                                            RandomResizedCropFlip, RandomShift,
                                            RandomShiftScale)
from tadfkd.augmentations.mixing import AugmentationSequence, RandomMixup

__all__ = [
    'AugmentationSequence', 'RandomCropFlip', 'RandomMixup',
    'RandomResizedCropFlip', 'RandomShift', 'RandomShiftScale'
]
