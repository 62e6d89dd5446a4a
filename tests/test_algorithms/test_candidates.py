"""Where the images of a step come from, and which of them are used."""
import equations
import numpy as np
import pytest
import torch
from algorithm_helpers import make_algorithm, optimisers, watch
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.registry import SELECTORS
from tadfkd.selectors import BaseSelector


@SELECTORS.register_module()
class KeepSix(BaseSelector):
    """Keeps the first six candidates."""

    def judge(self, logits_BK: Tensor, finite_B: Tensor,
              labels_B: Tensor | None) -> tuple[Tensor, Tensor]:
        """See the base class."""
        index_B = torch.arange(len(logits_BK))
        return index_B.float(), index_B < 6


def test_left_over_samples_feed_the_next_student_step() -> None:
    # Six of eight are kept: 6 + 6 = 8 + 4, then 4 + 6 = 8 + 2, then 2 + 6.
    model = make_algorithm('TADFKD', selector=dict(type='KeepSix'))
    made: list[Tensor] = []
    used: list[Tensor] = []
    for rounds, left in ((2, 4), (1, 2), (1, 0)):
        with watch(model) as calls:
            batch, logits_BK = model.candidates.selected_batch(8)
        new = [
            call.images_BCHW[:6] for call in calls
            if call.network == 'generator'
        ]
        assert len(new) == rounds
        assert len(model.candidates.queue) == left
        made, used = made + new, used + [batch.images_BCHW]
        np.testing.assert_allclose(
            logits_BK,
            equations.logits(model.teacher.network, batch.images_BCHW),
            rtol=1e-3,
            atol=1e-4)
    assert torch.cat(used).equal(torch.cat(made))


def test_the_targets_are_the_teachers_answers_to_the_augmented_view() -> None:
    model = make_algorithm(
        'TADFKD',
        augment=dict(type='RandomCropFlip', padding=2, flip_probability=0.5))
    batch, logits_BK = model.candidates.selected_batch(8)
    assert not batch.views_BCHW.equal(batch.images_BCHW)
    np.testing.assert_allclose(
        logits_BK,
        equations.logits(model.teacher.network, batch.views_BCHW),
        rtol=1e-3,
        atol=1e-4)


def test_too_many_rounds_say_how_many_images_were_kept() -> None:
    model = make_algorithm(
        'TADFKD', selector=dict(type='KeepEvery', n=8), max_rounds=3)
    with pytest.raises(
            UserError, match='after 3 rounds of 8 candidates only 3 of 8'):
        model.candidates.selected_batch(8)


def test_queued_images_are_dropped_after_a_skipped_step() -> None:
    model = make_algorithm('TADFKD', selector=dict(type='KeepEvery', n=3))
    wrapper = optimisers(model)['student']
    model.student_step(wrapper)
    assert len(model.candidates.queue) == 1
    bias = model.teacher.network.head.fc.bias.data
    kept = bias.clone()
    bias.fill_(torch.nan)
    model.student_step(wrapper)
    # One finite sample and seven without finite logits were taken.
    assert len(model.candidates.queue) == 1
    bias.copy_(kept)
    model.student_step(wrapper)
    updates = model.counters.updates['student']
    assert (updates.skipped, updates.applied) == (1, 2)
    assert model.counters.images_selected == 9 + 9
