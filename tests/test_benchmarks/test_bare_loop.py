"""The bare loop does what the algorithm does."""
from typing import Any

import pytest
import torch
from algorithm_helpers import make_algorithm, optimisers

from benchmarks import BareLoop
from tadfkd.errors import UserError

CROP = dict(type='RandomCropFlip', padding=1)


@pytest.mark.parametrize('changes', [
    dict(),
    dict(augment=CROP),
    dict(augment=CROP, bn_on='plain', image_terms_on='unit'),
    dict(augment=CROP, select_on='augmented'),
    dict(selector=dict(type='SelectAll')),
    dict(selector=dict(type='SelectAll'), augment=CROP),
    dict(selector=dict(type='KeepEvery', n=3), bn_loss=None),
    dict(augment=CROP, bn_on='plain', bn_loss=None),
    dict(image_losses={}),
])
def test_it_reaches_the_weights_of_the_algorithm(
        changes: dict[str, Any]) -> None:
    model = make_algorithm('TADFKD', **changes)
    wrappers = optimisers(model, lr=0.05)
    bare = BareLoop(model, wrappers)
    start = {
        name: weight.clone()
        for name, weight in model.state_dict().items()
    }
    for _ in range(3):
        losses = model.train_step(None, wrappers)
        assert torch.equal(bare.student_step(), losses['student_total'])
        assert torch.equal(bare.generator_step(), losses['generator_total'])
    for name in ('student', 'generator'):
        expected = getattr(model, name).state_dict()
        for key, value in getattr(bare, name).state_dict().items():
            assert torch.equal(value, expected[key]), key
    changed = [
        name for name, weight in model.state_dict().items()
        if not torch.equal(weight, start[name])
    ]
    assert any(name.startswith('student.') for name in changed)
    assert any(name.startswith('generator.') for name in changed)


@pytest.mark.parametrize('type, changes', [
    ('DFAD', {}),
    ('TADFKD',
     dict(
         class_prior=dict(
             type='ClassPrior', one_hot=1.0, balance=5.0, activation=0.1))),
])
def test_another_algorithm_is_refused(type: str, changes: dict) -> None:
    model = make_algorithm(type, **changes)
    with pytest.raises(UserError, match=f'{type}: name one of configs/tadfkd'):
        BareLoop(model, optimisers(model))
