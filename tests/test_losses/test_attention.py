"""Attention and class activation maps, position by position."""
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tadfkd.losses import AttentionTransferLoss, ClassActivationLoss
from tadfkd.registry import MODELS


def to_length_1(values: list[float]) -> list[float]:
    length = math.sqrt(sum(value * value for value in values))
    return [value / length for value in values]


def difference(student: list[float], teacher: list[float]) -> float:
    """Mean squared difference of two maps of one sample."""
    pairs = list(zip(to_length_1(student), to_length_1(teacher)))
    return sum((a - b)**2 for a, b in pairs) / len(pairs)


def attention(map_CHW: Tensor) -> list[float]:
    """The mean of squares over channels, at each position."""
    channels = map_CHW.double().numpy()
    return [
        sum(float(channel[place])**2 for channel in channels) / len(channels)
        for place in np.ndindex(*channels.shape[1:])
    ]


def activation(map_CHW: Tensor, row_C: Tensor) -> list[float]:
    """The weighted sum over channels, at each position."""
    channels, weights = map_CHW.double().numpy(), row_C.tolist()
    return [
        sum(weight * float(channel[place])
            for weight, channel in zip(weights, channels))
        for place in np.ndindex(*channels.shape[1:])
    ]


def test_attention_transfer_agrees_with_its_definition() -> None:
    # The channels of student and teacher differ, and so may their scale.
    student = [torch.randn(3, 2, 4, 6), torch.randn(3, 5, 2, 3)]
    teacher = [9 * torch.randn(3, 4, 4, 6), torch.randn(3, 1, 2, 3)]
    expected = sum(
        sum(
            difference(attention(s_CHW), attention(t_CHW))
            for s_CHW, t_CHW in zip(s, t)) / 3
        for s, t in zip(student, teacher))
    loss = MODELS.build(dict(type='AttentionTransferLoss', loss_weight=250.0))
    assert loss(student, teacher).item() == pytest.approx(
        250 * expected, rel=1e-4)


def test_attention_does_not_see_scale_sign_or_order_of_channels() -> None:
    map_BCHW = torch.randn(2, 4, 3, 3)
    loss = AttentionTransferLoss()
    assert loss([map_BCHW], [-3 * map_BCHW.flip(1)]) < 1e-12
    assert loss([map_BCHW], [map_BCHW.flip(3)]) > 1e-3


def test_attention_of_as_many_resolutions_as_the_other_network() -> None:
    maps = [torch.randn(2, 3, 4, 4), torch.randn(2, 3, 2, 2)]
    with pytest.raises(ValueError, match='zip'):
        AttentionTransferLoss()(maps, maps[:1])


def test_class_activation_agrees_with_its_definition() -> None:
    student_BCHW, teacher_BCHW = torch.randn(3, 2, 4,
                                             5), torch.randn(3, 6, 4, 5)
    student_BC, teacher_BC = torch.randn(3, 2), torch.randn(3, 6)
    expected = sum(
        difference(
            activation(student_BCHW[i], student_BC[i]),
            activation(teacher_BCHW[i], teacher_BC[i])) for i in range(3)) / 3
    loss = MODELS.build(dict(type='ClassActivationLoss', loss_weight=4.0))
    found = loss(student_BCHW, student_BC, teacher_BCHW, teacher_BC)
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


def test_half_precision_is_computed_in_float32() -> None:
    student_BCHW, teacher_BCHW = torch.randn(2, 2, 3, 4, 4).bfloat16()
    rows_BC = torch.randn(2, 3).bfloat16()
    found = AttentionTransferLoss()([student_BCHW], [teacher_BCHW])
    assert found == AttentionTransferLoss()([student_BCHW.float()],
                                            [teacher_BCHW.float()])
    found = ClassActivationLoss()(student_BCHW, rows_BC, teacher_BCHW, rows_BC)
    assert found.dtype == torch.float32
    assert found == ClassActivationLoss()(student_BCHW.float(),
                                          rows_BC.float(),
                                          teacher_BCHW.float(),
                                          rows_BC.float())
