"""The random numbers of everybody."""
import random
from pathlib import Path

import numpy as np
import torch

from tadfkd.checkpoints.reading import read_checkpoint
from tadfkd.utils.randomness import (global_random_state,
                                     set_global_random_state)


def draw() -> tuple:
    """Of all generators; an odd count, as normal numbers come in pairs."""
    return (random.random(), random.gauss(0, 1), np.random.rand(),
            np.random.randn(3).tolist(), torch.randn(3).tolist())


def test_all_generators_go_on_where_they_were(tmp_path: Path) -> None:
    draw()
    torch.save(global_random_state(), tmp_path / 'state.pth')
    expected = [draw(), draw()]
    draw()
    # As checkpoints are read, which runs no code.
    set_global_random_state(read_checkpoint(tmp_path / 'state.pth'))
    assert [draw(), draw()] == expected
