"""Measures without data, on held-out synthetic images."""
from collections import Counter
from dataclasses import dataclass

import torch

from tadfkd.algorithms import BaseDFKD
from tadfkd.evaluation.diversity import (class_entropy, feature_diversity,
                                         image_diversity, kappa)
from tadfkd.losses import BNStatisticsLoss
from tadfkd.networks.freezing import frozen


@dataclass(frozen=True)
class SyntheticMetrics:
    """Measures of teacher and student on images that training never uses.

    An image counts as finite if its pixels and both networks' logits are.
    All measures but ``finite`` and ``bn_distance`` use only finite images,
    and are None if there are none.

    Attributes:
        agreement: Percent of images with the same class by both networks.
        kappa: Cohen's kappa of both networks' classes, in [-1, 1]; see
            :func:`~tadfkd.evaluation.diversity.kappa`.
        bn_distance: Batch-norm statistics loss with weight 1. None for a
            teacher without batch norm, or if it is not finite.
        class_histogram: Number of images per class of the teacher.
        class_entropy: Entropy of that histogram, in [0, 1]; see
            :func:`~tadfkd.evaluation.diversity.class_entropy`.
        image_diversity: In [0, 0.5]; see
            :func:`~tadfkd.evaluation.diversity.image_diversity`.
        feature_diversity: Diversity of the teacher's penultimate features, in
            [0, 1]; see
            :func:`~tadfkd.evaluation.diversity.feature_diversity`. None for a
            teacher without such features.
        finite: Percent of images that are finite.
        confusion: The teacher's class, the student's class, and the number
            of images that they give these, if there are any.
    """

    agreement: float | None
    kappa: float | None
    bn_distance: float | None
    class_histogram: list[int]
    class_entropy: float | None
    image_diversity: float | None
    feature_diversity: float | None
    finite: float
    confusion: list[tuple[int, int, int]]


@torch.no_grad()
def measure_synthetic(model: BaseDFKD, size: int) -> SyntheticMetrics:
    """Measure on images from latents that training never draws.

    Neither the model nor its random streams change.

    Args:
        model: The algorithm, with its teacher.
        size: Number of images, >= 1. All are one batch.
    """
    assert model.teacher is not None
    images_BCHW = model.synthesize(size)
    has_features = model.teacher.classification_layer is not None
    output = model.teacher(
        images_BCHW, with_bn=True, with_features=has_features)
    with frozen(model.student):
        student_BK = model.result_logits(images_BCHW)
    finite_B = torch.cat(
        (images_BCHW.flatten(1), output.logits_BK, student_BK),
        1).isfinite().all(1)
    teacher_M = output.logits_BK[finite_B].argmax(1)
    histogram_K = teacher_M.bincount(minlength=model.num_classes).tolist()
    if len(teacher_M) == 0:
        return SyntheticMetrics(None, None, None, histogram_K, None, None,
                                None, 0.0, [])
    student_M = student_BK[finite_B].argmax(1)
    same_M = student_M == teacher_M
    # The distance is over the whole batch: one bad image makes it NaN.
    distance = BNStatisticsLoss()(output.bn_statistics) \
        if output.bn_statistics else None
    return SyntheticMetrics(
        agreement=100 * same_M.float().mean().item(),
        kappa=kappa(
            student_M.bincount(minlength=model.num_classes).tolist(),
            histogram_K, int(same_M.sum())),
        bn_distance=distance.item()
        if distance is not None and distance.isfinite() else None,
        class_histogram=histogram_K,
        class_entropy=class_entropy(histogram_K),
        image_diversity=image_diversity(images_BCHW[finite_B].clamp(0, 1)),
        feature_diversity=None if output.features_BF is None else
        feature_diversity(output.features_BF[finite_B]),
        finite=100 * finite_B.float().mean().item(),
        confusion=[(*pair, count) for pair, count in sorted(
            Counter(zip(teacher_M.tolist(), student_M.tolist())).items())])
