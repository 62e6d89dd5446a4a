"""Which views of generated images do the networks see?"""
from tadfkd.augmentations.geometric import (RandomCropFlip,
                                            RandomResizedCropFlip, RandomShift,
                                            RandomShiftScale)

__all__ = [
    'RandomCropFlip', 'RandomResizedCropFlip', 'RandomShift',
    'RandomShiftScale'
]
