"""Attention, class activation maps and grad-CAM against NumPy."""
import equations
import numpy as np
import pytest
import torch

from tadfkd.losses import (AttentionTransferLoss, ClassActivationLoss,
                           GradCAMLoss)


def difference(student_BHW: np.ndarray, teacher_BHW: np.ndarray) -> float:
    """Mean squared difference of maps, each scaled to length 1."""
    return float(((equations.unit(student_BHW) -
                   equations.unit(teacher_BHW))**2).mean())


def test_attention_transfer_agrees_with_its_definition() -> None:
    # The channels of student and teacher differ, and so may their scale.
    student = [torch.randn(3, 2, 4, 6), torch.randn(3, 5, 2, 3)]
    teacher = [9 * torch.randn(3, 4, 4, 6), torch.randn(3, 1, 2, 3)]
    expected = sum(
        difference((s_BCHW.double().numpy()**2).mean(1), (
            t_BCHW.double().numpy()**2).mean(1))
        for s_BCHW, t_BCHW in zip(student, teacher))
    loss = AttentionTransferLoss(loss_weight=250.0)
    assert loss(student, teacher).item() == pytest.approx(
        250 * expected, rel=1e-4)


def test_class_activation_agrees_with_its_definition() -> None:
    maps = torch.randn(3, 2, 4, 5), torch.randn(3, 6, 4, 5)
    weights = torch.randn(7, 2), torch.randn(7, 6)
    mine, others = (np.einsum('bchw,kc->bkhw',
                              map_BCHW.double().numpy(),
                              weight_KC.double().numpy())
                    for map_BCHW, weight_KC in zip(maps, weights))
    found = ClassActivationLoss(loss_weight=4.0)(maps[0], weights[0], maps[1],
                                                 weights[1])
    # Their scale counts, and so does their sign.
    assert found.item() == pytest.approx(
        4 * ((mine - others)**2).mean(), rel=1e-4)


def test_grad_cam_agrees_with_its_definition() -> None:
    sizes = (4, 6), (2, 3)
    student, teacher = ([torch.randn(3, channels, *size) for size in sizes]
                        for channels in (2, 5))
    gradients = [[torch.randn_like(map_) for map_ in maps]
                 for maps in (student, teacher)]
    mine, others = ([(map_.numpy() * gradient.numpy().mean(
        (2, 3), keepdims=True)).sum(1) for map_, gradient in zip(*pair)]
                    for pair in zip((student, teacher), gradients))
    expected = sum(((a - b)**2).mean() for a, b in zip(mine, others))
    found = GradCAMLoss(loss_weight=3.0)(student, gradients[0], teacher,
                                         gradients[1])
    assert found.item() == pytest.approx(3 * expected, rel=1e-4)


def test_the_weights_of_the_channels_are_constants() -> None:
    student_BCHW, weight_KC, gradient_BCHW = (
        torch.randn(*shape, requires_grad=True)
        for shape in ((2, 4, 3, 3), (5, 4), (2, 4, 3, 3)))
    teacher_BCHW = torch.randn(2, 4, 3, 3)
    loss = ClassActivationLoss()(student_BCHW, weight_KC, teacher_BCHW,
                                 torch.randn(5, 4))
    loss = loss + GradCAMLoss()([student_BCHW], [gradient_BCHW],
                                [teacher_BCHW], [torch.randn(2, 4, 3, 3)])
    loss.backward()
    assert student_BCHW.grad is not None and student_BCHW.grad.norm() > 0
    assert weight_KC.grad is None and gradient_BCHW.grad is None


def test_gradients_of_maps_that_are_zero_are_finite() -> None:
    # After a ReLU a whole map can be.
    student_BCHW = torch.zeros(2, 3, 4, 4, requires_grad=True)
    AttentionTransferLoss()([student_BCHW],
                            [torch.rand(2, 3, 4, 4)]).backward()
    assert student_BCHW.grad is not None
    assert student_BCHW.grad.isfinite().all()
