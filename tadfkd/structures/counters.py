"""Counters of steps, images and updates."""
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
        skipped_in_a_row: Skipped steps since the last applied step.
        gradient_norm_sum: Sum of the gradients' L2 norms over the applied
            steps.
    """

    applied: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    gradient_norm_sum: float = 0.0


@dataclass
class Counters:
    """Work done so far in this process.

    Images are counted when they are generated; ``images_selected`` counts
    those that the selector kept.

    Attributes:
        images_generated: By the generator, in training.
        images_selected: Of the generated images.
        steps: Steps by network, applied and skipped ones.
        updates: Applied and skipped optimiser steps by network.
    """

    images_generated: int = 0
    images_selected: int = 0
    steps: defaultdict[str,
                       int] = field(default_factory=lambda: defaultdict(int))
    updates: defaultdict[str, Updates] = field(
        default_factory=lambda: defaultdict(Updates))

    @property
    def student_steps(self) -> int:
        """Steps of the student."""
        return self.steps['student']

    @property
    def generator_steps(self) -> int:
        """Steps of the generator, those within a synthesis included."""
        return self.steps['generator']

    def state_dict(self) -> dict[str, Any]:
        """The counters as plain dictionaries and numbers."""
        return vars(self) | dict(
            steps=dict(self.steps),
            updates={
                network: dict(vars(updates))
                for network, updates in self.updates.items()
            })

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned, in place, because
        others hold this object."""
        updates = defaultdict(Updates)
        for network, counts in state['updates'].items():
            updates[network] = Updates(**counts)
        vars(self).update(
            state, steps=defaultdict(int, state['steps']), updates=updates)
