"""How much a run has done."""
from dataclasses import dataclass


@dataclass
class Counters:
    """What a run has done so far, in this process.

    Every generated image is a candidate of a student or generator step;
    ``images_selected`` counts those that the selector kept.
    """

    student_steps: int = 0
    generator_steps: int = 0
    images_generated: int = 0
    images_selected: int = 0
