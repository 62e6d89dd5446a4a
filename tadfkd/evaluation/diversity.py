"""Diversity of samples, and agreement of two classifiers on them."""
import math
from collections.abc import Sequence

from torch import Tensor


def class_entropy(histogram_K: Sequence[int]) -> float:
    """Entropy of a histogram over classes, divided by its maximum log K.

    Args:
        histogram_K: Number of images per class, K >= 2.

    Returns:
        In [0, 1]: 0 if all images are of one class or there are none, 1 if
        every class has the same number of images.
    """
    total = sum(histogram_K)
    shares = [count / total for count in histogram_K if count > 0]
    return abs(sum(share * math.log(share)
                   for share in shares)) / math.log(len(histogram_K))


def image_diversity(images_BCHW: Tensor) -> float:
    """Standard deviation of each pixel over the images, mean over pixels.

    Args:
        images_BCHW: Float in [0, 1], B >= 1.

    Returns:
        In [0, 0.5]: 0 if all images are the same, 0.29 for uniform noise.
    """
    return images_BCHW.float().std(0, correction=0).mean().item()


def feature_diversity(features_BF: Tensor) -> float:
    """Variance of the features over samples, divided by their mean square.

    ::

        sum_f Var(f) / sum_f mean f^2

    The scale of the features does not matter.

    Args:
        features_BF: Penultimate features, B >= 1.

    Returns:
        In [0, 1]: 0 if all samples have the same features (or only zeros).
    """
    features_BF = features_BF.double().flatten(1)
    energy = features_BF.square().mean(0).sum().item()
    if energy == 0:
        return 0.0
    return features_BF.var(0, correction=0).sum().item() / energy


def kappa(first_K: Sequence[int], second_K: Sequence[int],
          agreed: int) -> float:
    """Cohen's kappa of two classifiers' predictions for the same samples.

    Args:
        first_K: Number of samples per predicted class, first classifier.
        second_K: The same of the second classifier, with the same sum.
        agreed: Number of samples with equal predictions.

    Returns:
        In [-1, 1]: 0 if the classifiers agree as often as chance would with
        these histograms, for example if one predicts a single class; 1 if
        they always agree.
    """
    total = sum(first_K)
    by_chance = sum(map(math.prod, zip(first_K, second_K))) / total**2
    if by_chance == 1:
        return 0.0
    return (agreed / total - by_chance) / (1 - by_chance)
