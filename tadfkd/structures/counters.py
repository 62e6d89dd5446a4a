"""How much a run has done."""
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Updates:
    """The optimiser steps of one network so far.

    Attributes:
        applied: Steps that changed the weights.
        skipped: Steps whose loss or gradients were not finite.
        skipped_in_a_row: Of those, the newest without one applied between.
        gradient_norm_sum: Of the gradients' L2 norms at the applied steps.
    """

    applied: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    gradient_norm_sum: float = 0.0


@dataclass
class Counters:
    """What a run has done so far, in this process.

    Every generated image is a candidate of a student or generator step;
    ``images_selected`` counts those that the selector kept. Steps are counted
    whether they were applied or skipped; ``updates`` tells them apart, for
    each network.
    """

    student_steps: int = 0
    generator_steps: int = 0
    images_generated: int = 0
    images_selected: int = 0
    updates: defaultdict[str, Updates] = field(
        default_factory=lambda: defaultdict(Updates))

    def state_dict(self) -> dict[str, Any]:
        """As plain dictionaries and numbers."""
        return vars(self) | dict(
            updates={
                network: dict(vars(updates))
                for network, updates in self.updates.items()
            })

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Count on from what :meth:`state_dict` gave; this object does, as
        others hold it."""
        # Older checkpoints have no updates.
        updates = defaultdict(Updates)
        for network, counts in state.get('updates', {}).items():
            updates[network] = Updates(**counts)
        vars(self).update(state, updates=updates)
