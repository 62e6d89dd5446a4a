"""Batch-norm statistics with those of past batches, term by term."""
from pathlib import Path

import numpy as np
import pytest
import torch

from tadfkd.errors import UserError
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


def values(statistics: tuple[BNStatistics, ...]) -> list[np.ndarray]:
    return [
        value.detach().double().numpy() for layer in statistics
        for value in (layer.mean_F, layer.variance_F)
    ]


@pytest.mark.parametrize('momentum', [0.0, 0.5, 0.9])
def test_each_batch_is_averaged_with_the_past(momentum: float) -> None:
    averaged = AveragedStatistics(momentum)
    past: list[np.ndarray] | None = None
    for _ in range(4):
        # Several steps of a synthesis, of which the last one counts.
        for _ in range(3):
            given = batch()
            found = averaged.average(given)
            expected = values(given) if past is None else [
                momentum * old + (1 - momentum) * new
                for old, new in zip(past, values(given))
            ]
            for mine, theirs in zip(values(found), expected, strict=True):
                np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
            for mine, theirs in zip(found, given):
                assert mine.running_mean_F is theirs.running_mean_F
                assert mine.running_variance_F is theirs.running_variance_F
        averaged.advance()
        past = expected


def test_gradients_go_to_the_batch_with_its_share() -> None:
    averaged = AveragedStatistics(0.75)
    first = batch()
    gradient_F, = torch.autograd.grad(
        averaged.average(first)[0].mean_F.sum(), first[0].mean_F)
    assert gradient_F.tolist() == [1.0] * WIDTHS[0]
    averaged.advance()
    second = batch()
    found = averaged.average(second)
    loss = sum(layer.mean_F.sum() + layer.variance_F.sum() for layer in found)
    inputs = [
        value for layer in first + second
        for value in (layer.mean_F, layer.variance_F)
    ]
    gradients = torch.autograd.grad(loss, inputs, allow_unused=True)
    # The past has none.
    assert all(gradient is None for gradient in gradients[:4])
    for gradient in gradients[4:]:
        assert gradient is not None
        assert gradient.tolist() == [0.25] * len(gradient)


def test_without_momentum_the_batch_is_left_as_it_is() -> None:
    averaged = AveragedStatistics(0.0)
    for _ in range(2):
        given = batch()
        assert all(mine is theirs
                   for mine, theirs in zip(averaged.average(given), given))
        averaged.advance()
    assert averaged.state_dict() == dict(past=[])


def test_a_teacher_without_batch_norm_stays_without() -> None:
    averaged = AveragedStatistics(0.9)
    for _ in range(2):
        assert averaged.average([]) == ()
        averaged.advance()


def test_the_past_goes_on_exactly_after_a_restart(tmp_path: Path) -> None:
    averaged, other = AveragedStatistics(0.9), AveragedStatistics(0.9)
    for _ in range(2):
        averaged.average(batch())
        averaged.advance()
    # What it had before is forgotten.
    other.average(batch())
    other.advance()
    torch.save(averaged.state_dict(), tmp_path / 'past.pth')
    other.load_state_dict(torch.load(tmp_path / 'past.pth', weights_only=True))
    for _ in range(3):
        given = batch()
        for mine, theirs in zip(
                values(averaged.average(given)),
                values(other.average(given)),
                strict=True):
            assert np.array_equal(mine, theirs)
        averaged.advance()
        other.advance()


def test_an_empty_past_is_restored_as_one() -> None:
    averaged = AveragedStatistics(0.9)
    averaged.average(batch())
    averaged.advance()
    averaged.load_state_dict(AveragedStatistics(0.9).state_dict())
    given = batch()
    assert all(
        np.array_equal(mine, theirs) for mine, theirs in zip(
            values(averaged.average(given)), values(tuple(given))))


@pytest.mark.parametrize('momentum', [-0.1, 1.0, 2, float('nan'), '0.9', None])
def test_a_momentum_out_of_range_names_the_field(momentum: object) -> None:
    with pytest.raises(
            UserError, match=r'must be in \[0, 1\).*set model.bn_momentum'):
        AveragedStatistics(momentum)


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
        past = averaged.state_dict()['past']
        assert all(
            torch.equal(one, other) for layer, saved in zip(past, kept)
            for one, other in zip(layer, saved))
