"""Compiled networks compute the same."""
from typing import Any

import pytest
import torch
from algorithm_helpers import make_algorithm, optimisers, real_batch
from torch import Tensor, nn

from tadfkd.algorithms import BaseDFKD
from tadfkd.networks.compiling import compile_in_place


def trained(type: str, **changes: Any) -> tuple[BaseDFKD, dict[str, Tensor]]:
    """A model after two iterations, and the losses of the second."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make_algorithm(type, **changes)
        wrappers = optimisers(model)
        for _ in range(2):
            losses = model.train_step(real_batch(), wrappers)
    return model, losses


# KAKR calls its student with other weights. Compiled networks within capture
# are tested with the teacher. Other algorithms need nothing else.
@pytest.mark.long
def test_an_algorithm_trains_the_same_weights() -> None:
    torch.compiler.reset()
    compiled = []

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        compiled.append(graph)
        return graph.forward

    model, losses = trained('KAKR', compile=dict(backend=backend))
    # Equal bit for bit, because the graphs run operation by operation.
    plain, plain_losses = trained('KAKR')
    assert compiled
    assert losses.keys() == plain_losses.keys()
    for name, loss in losses.items():
        assert loss.equal(plain_losses[name]), name
    state = model.state_dict()
    assert state.keys() == plain.state_dict().keys()
    for key, value in plain.state_dict().items():
        assert value.equal(state[key]), key


def test_torchscript_stays_as_it_is() -> None:
    network = torch.jit.trace(nn.Linear(3, 2), torch.rand(1, 3))
    compile_in_place(True, network)
    assert network(torch.rand(5, 3)).shape == (5, 2)
