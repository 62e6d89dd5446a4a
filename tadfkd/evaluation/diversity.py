"""How much samples differ, and how far two answers to them agree."""
import math
from collections.abc import Sequence

from torch import Tensor


def class_entropy(histogram_K: Sequence[int]) -> float:
    """Entropy of a histogram over classes, as a share of the largest.

    Args:
        histogram_K: Images of each class, K >= 2.

    Returns:
        In [0, 1]: 0 if all images are of one class (or there are none), 1 if
        every class has as many.
    """
    total = sum(histogram_K)
    shares = [count / total for count in histogram_K if count > 0]
    return abs(sum(share * math.log(share)
                   for share in shares)) / math.log(len(histogram_K))


def image_diversity(images_BCHW: Tensor) -> float:
    """Standard deviation of a pixel over the images, mean over pixels.

    Args:
        images_BCHW: Float in [0, 1], B >= 1.

    Returns:
        In [0, 0.5]: 0 if all images are the same, 0.29 for uniform noise.
    """
    return images_BCHW.float().std(0, correction=0).mean().item()


def feature_diversity(features_BF: Tensor) -> float:
    """Share of the features' energy that differs from sample to sample.

    ::

        sum_f Var(f) / sum_f mean f^2

    It does not depend on the scale of the features.

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
    """Cohen's kappa of two classifiers' answers to the same samples.

    Args:
        first_K: Samples of each class by the one.
        second_K: And by the other, as many.
        agreed: Samples of which both say the same.

    Returns:
        In [-1, 1]: 0 where agreement is what the two histograms give by
        chance, as of a classifier that says one class of all samples.
    """
    total = sum(first_K)
    by_chance = sum(map(math.prod, zip(first_K, second_K))) / total**2
    if by_chance == 1:
        return 0.0
    return (agreed / total - by_chance) / (1 - by_chance)
