"""Runs of sweeps that take no time."""
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tadfkd.sweeps.planning import PlannedRun, plan_runs


@pytest.fixture
def plan(digits_config: str, tiny_options: dict[str, Any],
         tmp_path: Path) -> Callable[..., list[PlannedRun]]:
    """Plan tiny runs in the folder ``runs``, one per seed."""

    def make(seeds: Sequence[int] = (0, ), **changes: Any) -> list[PlannedRun]:
        return plan_runs(
            tmp_path / 'runs', [digits_config], [None],
            seeds, {},
            tiny_options | changes,
            evaluate=False)

    return make
