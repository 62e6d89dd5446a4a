"""What the best step of one synthesis made."""
import torch
from torch import Tensor


class AtLowestLoss:
    """The tensor at the lowest loss so far, without a wait for the device.

    Attributes:
        values: The tensor, without graph.
    """

    def __init__(self) -> None:
        self._lowest: Tensor | None = None

    def offer(self, values: Tensor, loss: Tensor) -> None:
        """Keep the values if their loss is finite and the lowest so far.

        Args:
            values: Of one step, such as its images; the graph is dropped.
            loss: The scalar loss of the step.
        """
        values, loss = values.detach(), loss.detach()
        loss = torch.where(loss.isfinite(), loss, torch.inf)
        if self._lowest is None:
            self.values, self._lowest = values, loss
            return
        better = loss < self._lowest
        self.values = torch.where(better, values, self.values)
        self._lowest = torch.where(better, loss, self._lowest)
