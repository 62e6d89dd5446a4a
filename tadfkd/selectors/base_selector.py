"""What all selectors share."""
from abc import ABC, abstractmethod
from typing import Literal

import torch
from mmengine.dist import get_world_size
from torch import Tensor

from tadfkd.distributed.reductions import gather_rows
from tadfkd.errors import require_at_least, require_choice
from tadfkd.structures import TeacherOutput
from tadfkd.utils.precision import at_least_float32

Scope = Literal['global', 'local']


def pseudo_label_loss(logits_BK: Tensor) -> Tensor:
    """Cross-entropy of each row against its own argmax, in nats, >= 0."""
    return logits_BK.logsumexp(1) - logits_BK.amax(1)


def ranks(values_B: Tensor) -> Tensor:
    """Position of each value in ascending order; NaN comes last."""
    order_B = values_B.argsort(stable=True)
    ranks_B = torch.empty_like(order_B)
    ranks_B[order_B] = torch.arange(len(order_B), device=order_B.device)
    return ranks_B


class BaseSelector(ABC):
    """Teacher output -> the samples that may enter the losses.

    A sample with a non-finite logit is never selected.

    Args:
        min_selected: Each process selects at least this many samples, >= 1.
            If too few pass, the best samples with finite logits fill up.
    """

    #: False for a selector that needs no forward of the teacher.
    reads_teacher = True

    def __init__(self, min_selected: int = 1) -> None:
        require_at_least('model.selector', 'min_selected', min_selected, 1)
        self.min_selected = min_selected

    @torch.no_grad()
    def select(self,
               output: TeacherOutput,
               labels_B: Tensor | None = None) -> Tensor:
        """Select from a batch of candidates.

        Args:
            output: The teacher's output for the candidates.
            labels_B: The candidates' labels, if the generator was given any.

        Returns:
            Boolean mask_B on the device of the logits, detached. The
            computation never waits for the device.
        """
        logits_BK = at_least_float32(output.logits_BK)
        finite_B = logits_BK.isfinite().all(1)
        badness_B, mask_B = self.judge(logits_BK, finite_B, labels_B)
        mask_B = mask_B & finite_B
        badness_B = badness_B.masked_fill(~finite_B, torch.inf)
        best_B = (ranks(badness_B) < self.min_selected) & finite_B
        too_few = mask_B.sum() < self.min_selected
        return mask_B | (best_B & too_few)

    @abstractmethod
    def judge(self, logits_BK: Tensor, finite_B: Tensor,
              labels_B: Tensor | None) -> tuple[Tensor, Tensor]:
        """Grade each sample and decide on it.

        Args:
            logits_BK: Float32 logits, possibly with NaN or infinities.
            finite_B: True where all logits of a row are finite.
            labels_B: Labels of the candidates, if there are any.

        Returns:
            badness_B, which orders the samples if too few are selected, and
            mask_B, True for the selected. The caller ignores both at rows
            that are not finite.
        """


class ComparingSelector(BaseSelector):
    """A selector that compares each sample's loss with the other samples'.

    The loss is the cross-entropy of the teacher against its own argmax.

    Args:
        min_selected: See :class:`BaseSelector`.
        scope: ``'global'`` compares the samples of all processes, so the
            selection does not depend on how a batch is split. ``'local'``
            compares within each process, which saves an all-gather.
    """

    def __init__(self, min_selected: int = 1, scope: Scope = 'global') -> None:
        super().__init__(min_selected)
        require_choice('model.selector', 'scope', scope, ('global', 'local'))
        self.scope = scope

    def judge(self, logits_BK: Tensor, finite_B: Tensor,
              labels_B: Tensor | None) -> tuple[Tensor, Tensor]:
        """See :meth:`BaseSelector.judge`."""
        loss_B = pseudo_label_loss(logits_BK)
        if self.scope == 'local' or get_world_size() == 1:
            return loss_B, self.compare(loss_B, finite_B)
        rows_B2, own = gather_rows(
            torch.stack((loss_B, finite_B.to(loss_B.dtype)), 1))
        mask_B = self.compare(rows_B2[:, 0], rows_B2[:, 1] > 0)
        return loss_B, mask_B[own]

    @abstractmethod
    def compare(self, loss_B: Tensor, finite_B: Tensor) -> Tensor:
        """mask_B, True for the selected.

        Args:
            loss_B: Float32, possibly with NaN or infinities.
            finite_B: True where the logits of a loss are finite.
        """
