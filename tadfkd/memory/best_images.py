"""The best images of one synthesis."""
import torch
from torch import Tensor


class BestImages:
    """The images at the lowest loss so far, without a wait for the device."""

    def __init__(self) -> None:
        self._lowest: Tensor | None = None

    def offer(self, images_BCHW: Tensor, loss: Tensor) -> None:
        """Keep the images if their loss is finite and the lowest so far.

        Args:
            images_BCHW: Images of one step; the graph is dropped.
            loss: Their scalar loss.
        """
        images_BCHW, loss = images_BCHW.detach(), loss.detach()
        loss = torch.where(loss.isfinite(), loss, torch.inf)
        if self._lowest is None:
            self.images_BCHW, self._lowest = images_BCHW, loss
            return
        better = loss < self._lowest
        self.images_BCHW = torch.where(better, images_BCHW, self.images_BCHW)
        self._lowest = torch.where(better, loss, self._lowest)
