"""Batch-norm statistics with those of past batches, term by term."""

import numpy as np
import pytest
import torch

from tadfkd.memory import AveragedStatistics
from tadfkd.structures import BNStatistics

WIDTHS = (3, 5)


def batch() -> list[BNStatistics]:
    """Random statistics of two layers, with their graph."""
    return [
        BNStatistics(
            torch.randn(width, requires_grad=True) * 1,
            torch.rand(width, requires_grad=True) * 1, torch.randn(width),
            torch.rand(width)) for width in WIDTHS
    ]


def values(statistics: list[BNStatistics]) -> list[np.ndarray]:
    return [
        value.detach().double().numpy() for layer in statistics
        for value in (layer.mean_F, layer.variance_F)
    ]


@pytest.mark.parametrize('momentum', [0.0, 0.5, 0.9])
def test_each_batch_is_averaged_with_the_past(momentum: float) -> None:
    averaged = AveragedStatistics(momentum)
    past: list[np.ndarray] | None = None
    for _ in range(4):
        # The last of several steps of a synthesis counts.
        for _ in range(3):
            given = batch()
            found = averaged.average(given)
            expected = values(given) if past is None else [
                momentum * old + (1 - momentum) * new
                for old, new in zip(past, values(given))
            ]
            for mean_or_variance, other in zip(
                    values(found), expected, strict=True):
                np.testing.assert_allclose(
                    mean_or_variance, other, rtol=1e-5, atol=1e-6)
        averaged.advance()
        past = expected


def test_the_batch_has_its_share_of_the_gradient_and_the_past_none() -> None:
    averaged = AveragedStatistics(0.75)
    first, second = batch(), batch()
    averaged.average(first)
    averaged.advance()
    loss = sum(layer.mean_F.sum() + layer.variance_F.sum()
               for layer in averaged.average(second))
    inputs = [
        value for layer in first + second
        for value in (layer.mean_F, layer.variance_F)
    ]
    gradients = torch.autograd.grad(loss, inputs, allow_unused=True)
    assert all(gradient is None for gradient in gradients[:4])
    for gradient in gradients[4:]:
        assert gradient.tolist() == [0.25] * len(gradient)


def test_a_past_that_is_not_finite_is_not_taken_over() -> None:
    averaged = AveragedStatistics(0.9)
    for _ in range(2):
        averaged.average(batch())
        averaged.advance()
        kept = averaged.state_dict()['past']
        bad = batch()
        bad[1].variance_F.data[2] = torch.nan
        averaged.average(bad)
        averaged.advance()
        torch.testing.assert_close(
            averaged.state_dict()['past'], kept, rtol=0, atol=0)
