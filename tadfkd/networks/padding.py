"""Batches of few sizes for networks whose images do not affect each other."""
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


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


def uses_batch_statistics(network: nn.Module) -> bool:
    """Whether images of a batch affect each other: a layer is in training
    mode, or a batch norm has no running statistics."""
    return any(
        module.training
        or isinstance(module, _BatchNorm) and module.running_mean is None
        for module in network.modules())
