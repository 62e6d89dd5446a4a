"""Where the student looks, and where the teacher does."""
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from tadfkd.losses.base_loss import BaseLoss
from tadfkd.registry import MODELS


def _squared_difference(student_BHW: Tensor, teacher_BHW: Tensor) -> Tensor:
    """Mean squared difference of maps, each scaled to length 1."""
    return functional.mse_loss(
        functional.normalize(student_BHW.flatten(1), dim=1),
        functional.normalize(teacher_BHW.flatten(1), dim=1))


@MODELS.register_module()
class AttentionTransferLoss(BaseLoss):
    """Sum over resolutions of the mean of (A(S) - A(T))^2.

    A(f) is the mean over channels of f^2, scaled to length 1 over the
    positions of a sample. arXiv 1612.03928.
    """

    def forward(self, student_maps: Sequence[Tensor],
                teacher_maps: Sequence[Tensor]) -> Tensor:
        """The distance, >= 0.

        Args:
            student_maps: (B, C, H, W) maps, of one or more resolutions.
            teacher_maps: As many, of the same heights and widths; the
                channels may differ.
        """
        distances = [
            _squared_difference(student.float().square().mean(1),
                                teacher.float().square().mean(1))
            for student, teacher in zip(
                student_maps, teacher_maps, strict=True)
        ]
        return self.loss_weight * torch.stack(distances).sum()


@MODELS.register_module()
class ClassActivationLoss(BaseLoss):
    """Mean of (M(S) - M(T))^2 over the class activation maps of one class.

    M is the sum over channels of the last map, weighted by the linear layer's
    row of the class (arXiv 1512.04150), scaled to length 1 over the
    positions.
    """

    def forward(self, student_map_BCHW: Tensor, student_rows_BC: Tensor,
                teacher_map_BCHW: Tensor, teacher_rows_BC: Tensor) -> Tensor:
        """The distance, >= 0.

        Args:
            student_map_BCHW: Input of the student's pooling.
            student_rows_BC: For each sample, its class' row of weights.
            teacher_map_BCHW: Of the same height and width.
            teacher_rows_BC: Likewise, with the teacher's channels.
        """
        student_BHW, teacher_BHW = (torch.einsum('bchw,bc->bhw', map_.float(),
                                                 rows.float())
                                    for map_, rows in ((student_map_BCHW,
                                                        student_rows_BC),
                                                       (teacher_map_BCHW,
                                                        teacher_rows_BC)))
        return self.loss_weight * _squared_difference(student_BHW, teacher_BHW)
