"""Losses between the maps of teacher and student: where does each look?"""
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from tadfkd.losses.base_loss import BaseLoss
from tadfkd.registry import MODELS
from tadfkd.utils.precision import at_least_float32


def _attention(map_BCHW: Tensor) -> Tensor:
    """The mean over channels of f^2, scaled to length 1 per sample; flat."""
    return functional.normalize(
        at_least_float32(map_BCHW).square().mean(1).flatten(1), dim=1)


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
            functional.mse_loss(_attention(student), _attention(teacher))
            for student, teacher in zip(
                student_maps, teacher_maps, strict=True)
        ]
        return self.loss_weight * torch.stack(distances).sum()


@MODELS.register_module()
class ClassActivationLoss(BaseLoss):
    """Mean of (M(S) - M(T))^2 over the class activation maps of all classes.

    The map of class k is sum_c w_kc f_c: the row of the class in the linear
    layer weights the channels of the last feature map (arXiv 1512.04150). The
    maps are neither scaled nor rectified, and a bias is left out.

    Example:
        >>> map_BCHW, weight_KC = torch.rand(2, 3, 4, 4), torch.ones(5, 3)
        >>> ClassActivationLoss()(map_BCHW, weight_KC, map_BCHW, weight_KC)
        tensor(0.)
    """

    def forward(self, student_map_BCHW: Tensor, student_weight_KC: Tensor,
                teacher_map_BCHW: Tensor, teacher_weight_KC: Tensor) -> Tensor:
        """The distance, >= 0.

        Args:
            student_map_BCHW: Input of the student's pooling.
            student_weight_KC: Of the student's linear layer, one row per
                class. It gets no gradient.
            teacher_map_BCHW: Input of the teacher's pooling, with the same
                height and width.
            teacher_weight_KC: Likewise, with the teacher's channels.
        """
        student_BKHW = _class_maps(student_map_BCHW, student_weight_KC)
        teacher_BKHW = _class_maps(teacher_map_BCHW, teacher_weight_KC)
        return self.loss_weight * functional.mse_loss(student_BKHW,
                                                      teacher_BKHW)


@MODELS.register_module()
class GradCAMLoss(BaseLoss):
    """Sum over resolutions of the mean of (G(S) - G(T))^2.

    G is the grad-CAM of one class per sample: the sum over channels of the
    feature map, each channel times the mean over positions of the gradient of
    the class's logit (arXiv 1610.02391). Here it is not rectified, nor
    scaled, and the gradient is a constant.

    Example:
        >>> maps = [torch.rand(2, 3, 4, 4)]
        >>> gradients = [torch.rand(2, 3, 4, 4)]
        >>> GradCAMLoss()(maps, gradients, maps, gradients)
        tensor(0.)
    """

    def forward(self, student_maps: Sequence[Tensor],
                student_gradients: Sequence[Tensor],
                teacher_maps: Sequence[Tensor],
                teacher_gradients: Sequence[Tensor]) -> Tensor:
        """The distance, >= 0.

        Args:
            student_maps: (B, C, H, W) maps, one per resolution.
            student_gradients: For each map, the gradient of one logit per
                sample. It gets no gradient itself.
            teacher_maps: One map per map of the student, with the same
                height and width; the channels may differ.
            teacher_gradients: Likewise, of the teacher's logits.
        """
        distances = [
            functional.mse_loss(
                _grad_cam(student, student_gradient),
                _grad_cam(teacher, teacher_gradient))
            for student, student_gradient, teacher, teacher_gradient in zip(
                student_maps,
                student_gradients,
                teacher_maps,
                teacher_gradients,
                strict=True)
        ]
        return self.loss_weight * torch.stack(distances).sum()


def _class_maps(map_BCHW: Tensor, weight_KC: Tensor) -> Tensor:
    """maps_BKHW of all classes."""
    return torch.einsum('bchw,kc->bkhw', at_least_float32(map_BCHW),
                        at_least_float32(weight_KC.detach()))


def _grad_cam(map_BCHW: Tensor, gradient_BCHW: Tensor) -> Tensor:
    """cam_BHW, signed."""
    weights_BC = at_least_float32(gradient_BCHW.detach()).mean((2, 3))
    # Autocast would run a matrix product in half precision, which is too
    # coarse for the mean of small gradients.
    return (at_least_float32(map_BCHW) * weights_BC[:, :, None, None]).sum(1)
