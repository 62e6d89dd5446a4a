"""Measures that need no data, on held-out synthetic images."""
from dataclasses import dataclass

import torch

from tadfkd.algorithms import BaseDFKD
from tadfkd.losses import BNStatisticsLoss
from tadfkd.utils.freezing import frozen


@dataclass(frozen=True)
class SyntheticMetrics:
    """Teacher and student on images that training has not seen.

    Attributes:
        agreement: Share of images of which both say the same class, percent.
        bn_distance: Unweighted batch-norm statistics distance; None for a
            teacher without batch norm.
        class_histogram: Images of each class by the teacher's answer.
    """

    agreement: float
    bn_distance: float | None
    class_histogram: list[int]


@torch.no_grad()
def measure_synthetic(model: BaseDFKD, size: int) -> SyntheticMetrics:
    """Measure on ``size`` images from latents that training never draws.

    Nothing in the model changes, its random streams included.

    Args:
        model: With its teacher.
        size: Number of images, >= 1, which pass the networks at once.
    """
    assert model.teacher is not None
    images_BCHW = model.synthesize(size)
    output = model.teacher(images_BCHW, with_bn=True)
    with frozen(model.student):
        student_B = model.student_logits(images_BCHW).argmax(1)
    teacher_B = output.logits_BK.argmax(1)
    return SyntheticMetrics(
        agreement=100 * (student_B == teacher_B).float().mean().item(),
        bn_distance=BNStatisticsLoss()(output.bn_statistics).item()
        if output.bn_statistics else None,
        class_histogram=teacher_B.bincount(
            minlength=model.num_classes).tolist())
