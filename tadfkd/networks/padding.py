"""Batches of few sizes for networks whose images do not affect each other."""
import torch.nn.functional as F
from torch import Tensor


def padded(images_BCHW: Tensor, multiple: int) -> Tensor:
    """The images and as many blank ones as a full multiple needs.

    For each number of images that is new, oneDNN compiles each convolution of
    a network once more, which takes milliseconds per convolution.

    Args:
        images_BCHW: At least one image.
        multiple: >= 1.
    """
    missing = -len(images_BCHW) % multiple
    if missing == 0:
        return images_BCHW
    return F.pad(images_BCHW, (0, 0) * (images_BCHW.ndim - 1) + (0, missing))
