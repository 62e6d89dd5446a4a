"""What every loss shares."""
from torch import nn

from tadfkd.errors import require_at_least


class BaseLoss(nn.Module):
    """A pure function of tensors to a scalar, with a weight.

    Args:
        loss_weight: Factor of the result, >= 0. An adversarial minus sign is
            written in the algorithm, never put into the weight.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        require_at_least(f'the {type(self).__name__}', 'loss_weight',
                         loss_weight, 0.0)
        self.loss_weight = loss_weight
