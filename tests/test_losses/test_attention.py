"""Attention and class activation maps against NumPy in float64."""
import equations
import numpy as np
import pytest
import torch

from tadfkd.losses import AttentionTransferLoss, ClassActivationLoss


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
    rows = torch.randn(3, 2), torch.randn(3, 6)
    expected = difference(*(np.einsum('bchw,bc->bhw',
                                      map_BCHW.double().numpy(),
                                      rows_BC.double().numpy())
                            for map_BCHW, rows_BC in zip(maps, rows)))
    found = ClassActivationLoss(loss_weight=4.0)(maps[0], rows[0], maps[1],
                                                 rows[1])
    assert found.item() == pytest.approx(4 * expected, rel=1e-4)


def test_class_activation_sees_the_sign() -> None:
    map_BCHW, rows_BC = torch.randn(2, 4, 3, 3), torch.randn(2, 4)
    loss = ClassActivationLoss()
    assert loss(map_BCHW, rows_BC, 2 * map_BCHW, 5 * rows_BC) < 1e-12
    # Of two opposite maps of length 1 the squares sum to 4, over 9 places.
    assert loss(map_BCHW, rows_BC, map_BCHW,
                -rows_BC).item() == pytest.approx(4 / 9)


def test_gradients_of_maps_that_are_zero_are_finite() -> None:
    # After a ReLU a whole map can be.
    student_BCHW = torch.zeros(2, 3, 4, 4, requires_grad=True)
    teacher_BCHW = torch.rand(2, 3, 4, 4)
    rows_BC = torch.randn(2, 3)
    loss = AttentionTransferLoss()([student_BCHW], [teacher_BCHW]) \
        + ClassActivationLoss()(student_BCHW, rows_BC, teacher_BCHW, rows_BC)
    loss.backward()
    assert loss.isfinite()
    assert student_BCHW.grad is not None
    assert student_BCHW.grad.isfinite().all()
