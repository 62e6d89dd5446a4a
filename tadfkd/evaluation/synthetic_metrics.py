"""Measures that need no data, on held-out synthetic images."""
from dataclasses import dataclass

import torch

from tadfkd.algorithms import BaseDFKD
from tadfkd.evaluation.diversity import (class_entropy, feature_diversity,
                                         image_diversity, kappa)
from tadfkd.losses import BNStatisticsLoss
from tadfkd.networks.freezing import frozen


@dataclass(frozen=True)
class SyntheticMetrics:
    """Teacher and student on images that training has not seen.

    All but ``finite`` are of the images that are finite, like the answers of
    both networks to them; None where there are no such images.

    Attributes:
        agreement: Share of images of which both say the same class, percent.
        kappa: Agreement beyond what the two class histograms would give by
            chance (Cohen's), in [-1, 1]: 0 for a student that guesses or says
            one class of all images, 1 for full agreement.
        bn_distance: Unweighted batch-norm statistics distance; None for a
            teacher without batch norm.
        class_histogram: Images of each class by the teacher's answer.
        class_entropy: Of that histogram, in [0, 1]; see
            :func:`~tadfkd.evaluation.diversity.class_entropy`.
        image_diversity: In [0, 0.5]; see
            :func:`~tadfkd.evaluation.diversity.image_diversity`.
        feature_diversity: Of the teacher's penultimate features, in [0, 1];
            see :func:`~tadfkd.evaluation.diversity.feature_diversity`. None
            for a teacher without such features.
        finite: Share of images that are finite like all answers, percent.
    """

    agreement: float | None
    kappa: float | None
    bn_distance: float | None
    class_histogram: list[int]
    class_entropy: float | None
    image_diversity: float | None
    feature_diversity: float | None
    finite: float


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
    has_features = model.teacher.classification_layer is not None
    output = model.teacher(
        images_BCHW, with_bn=True, with_features=has_features)
    with frozen(model.student):
        student_BK = model.student_logits(images_BCHW)
    finite_B = torch.cat(
        (images_BCHW.flatten(1), output.logits_BK, student_BK),
        1).isfinite().all(1)
    teacher_M = output.logits_BK[finite_B].argmax(1)
    histogram_K = teacher_M.bincount(minlength=model.num_classes).tolist()
    if len(teacher_M) == 0:
        return SyntheticMetrics(None, None, None, histogram_K, None, None,
                                None, 0.0)
    student_M = student_BK[finite_B].argmax(1)
    same_M = student_M == teacher_M
    # Over the whole batch, so that one image makes it not a number.
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
        image_diversity=image_diversity(images_BCHW[finite_B]),
        feature_diversity=None if output.features_BF is None else
        feature_diversity(output.features_BF[finite_B]),
        finite=100 * finite_B.float().mean().item())
