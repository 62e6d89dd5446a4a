"""The passes that a step needs."""
from typing import Any

import pytest
import torch
from algorithm_helpers import make_algorithm, optimisers

from benchmarks.floor import Floor, Needs, flops

CROP = dict(type='RandomCropFlip', padding=1)


@pytest.mark.parametrize('changes, teacher_forwards', [
    (dict(), 3),
    (dict(augment=CROP), 4),
    (dict(augment=CROP, select_on='augmented'), 3),
    (dict(selector=dict(type='SelectAll'), augment=CROP), 1),
])
def test_as_many_passes_as_the_algorithm_makes(changes: dict[str, Any],
                                               teacher_forwards: int) -> None:
    model = make_algorithm('TADFKD', **changes)
    passes = Floor(model, optimisers(model)).passes(Needs(3, 5))
    times = {
        step: {
            name: count
            for name, (count, _) in of_step.items()
        }
        for step, of_step in passes.items()
    }
    assert times['student'] == {
        'generator forward': 3,
        'teacher forward': teacher_forwards,
        'student update': 1
    }
    selects = changes.get('selector') is None
    assert times['generator'] == {
        'teacher forward': int(selects),
        'teacher forward and gradient': 1,
        'student forward and gradient': 1,
        'generator update': 1
    }


def test_passes_leave_the_model_as_it_was() -> None:
    model = make_algorithm('TADFKD')
    before = {
        name: value.clone()
        for name, value in model.state_dict().items()
    }
    floor = Floor(model, optimisers(model))
    for of_step in floor.passes(Needs(1, 4)).values():
        for _, function in of_step.values():
            function()
    assert all(
        torch.equal(value, before[name])
        for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_operations_are_those_of_a_product() -> None:
    left, right = torch.ones(3, 4), torch.ones(4, 5)
    assert flops(lambda: left @ right) == 2 * 3 * 4 * 5
