"""How often the host waits for the device within a step.

On a CPU nothing waits, but the operations that would wait on a GPU are the
same, and they can be counted.
"""
from collections import Counter
from typing import Any

import pytest
import torch
from algorithm_helpers import make_algorithm, optimisers, real_batch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

#: Operations whose result the host needs before it can go on.
_WAITS = ('aten._local_scalar_dense.default', 'aten.nonzero.default',
          'aten.equal.default', 'aten._unique2.default',
          'aten.masked_select.default')


class CountWaits(TorchDispatchMode):
    """Counts the operations that wait on a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self,
                           function: Any,
                           types: Any,
                           args: Any = (),
                           kwargs: Any = None) -> Any:
        name = str(function)
        if name in _WAITS or name == 'aten.index.Tensor' and any(
                isinstance(index, Tensor) and index.dtype == torch.bool
                for index in args[1]):
            self.found[name] += 1
        return function(*args, **(kwargs or {}))


def waits(type: str, step: str) -> tuple[int, Any]:
    """Of one step after an iteration, and the model."""
    torch.manual_seed(0)
    model = make_algorithm(type)
    wrappers = optimisers(model)
    model.train_step(real_batch(), wrappers)
    before = model.counters.images_generated
    with CountWaits() as counted:
        getattr(model, f'{step}_step')(wrappers[step])
    model.rounds = (model.counters.images_generated -
                    before) // model.batch_size
    return counted.found.total(), model


@pytest.mark.parametrize('type', ['DFAD', 'TADFKD'])
def test_a_step_waits_for_its_guard_and_for_each_selection(type: str) -> None:
    # How many images were selected says whether there must be more.
    selections = type == 'TADFKD'
    count, model = waits(type, 'student')
    assert count == 1 + selections * model.rounds
    assert waits(type, 'generator')[0] == 1 + selections


@pytest.mark.parametrize('type', ['AgnosticDFKD', 'CMI', 'FastDFKD', 'NAYER'])
def test_a_student_step_on_a_pool_waits_for_its_guard_alone(type: str) -> None:
    assert waits(type, 'student')[0] == 1
