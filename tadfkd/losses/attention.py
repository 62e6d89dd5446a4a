"""Losses between the maps of teacher and student: where does each look?"""
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from tadfkd.losses.base_loss import BaseLoss
from tadfkd.registry import MODELS
from tadfkd.utils.precision import at_least_float32


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

    Example:
        >>> loss = AttentionTransferLoss(loss_weight=250.0)
        >>> student_maps = [torch.ones(2, 3, 4, 4), torch.ones(2, 6, 2, 2)]
        >>> teacher_maps = [torch.ones(2, 8, 4, 4), torch.ones(2, 16, 2, 2)]
        >>> loss(student_maps, teacher_maps)
        tensor(0.)
    """

    def forward(self, student_maps: Sequence[Tensor],
                teacher_maps: Sequence[Tensor]) -> Tensor:
        """The distance, >= 0.

        Args:
            student_maps: (B, C, H, W) maps, one per resolution.
            teacher_maps: One map per map of the student, with the same
                height and width; the channels may differ.
        """
        distances = [
            _squared_difference(
                at_least_float32(student).square().mean(1),
                at_least_float32(teacher).square().mean(1))
            for student, teacher in zip(
                student_maps, teacher_maps, strict=True)
        ]
        return self.loss_weight * torch.stack(distances).sum()


@MODELS.register_module()
class ClassActivationLoss(BaseLoss):
    """Mean of (M(S) - M(T))^2 over the class activation maps of one class.

    M is the sum over channels of the last map. The linear layer's row of the
    class weights the channels (arXiv 1512.04150), and M is scaled to length 1
    over the positions.

    Example:
        >>> map_BCHW, rows_BC = torch.rand(2, 3, 4, 4), torch.ones(2, 3)
        >>> ClassActivationLoss()(map_BCHW, rows_BC, map_BCHW, rows_BC)
        tensor(0.)
    """

    def forward(self, student_map_BCHW: Tensor, student_rows_BC: Tensor,
                teacher_map_BCHW: Tensor, teacher_rows_BC: Tensor) -> Tensor:
        """The distance, >= 0.

        Args:
            student_map_BCHW: Input of the student's pooling.
            student_rows_BC: The row of weights of each sample's class.
            teacher_map_BCHW: Input of the teacher's pooling, with the same
                height and width.
            teacher_rows_BC: The teacher's rows, with its own channels.
        """
        student_BHW, teacher_BHW = (torch.einsum('bchw,bc->bhw',
                                                 at_least_float32(map_),
                                                 at_least_float32(rows))
                                    for map_, rows in ((student_map_BCHW,
                                                        student_rows_BC),
                                                       (teacher_map_BCHW,
                                                        teacher_rows_BC)))
        return self.loss_weight * _squared_difference(student_BHW, teacher_BHW)
