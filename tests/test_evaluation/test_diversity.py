"""Diversity and kappa against NumPy."""
import pytest
import torch

from tadfkd.evaluation.diversity import (class_entropy, feature_diversity,
                                         image_diversity, kappa)


@pytest.mark.parametrize('histogram_K, expected', [
    ([0, 7, 0], 0.0),
    ([3, 3, 3], 1.0),
    ([4, 4, 0, 0], 0.5),
    ([0, 0], 0.0),
])
def test_entropies_that_are_known(histogram_K: list[int],
                                  expected: float) -> None:
    assert class_entropy(histogram_K) == pytest.approx(expected)


def test_image_diversity_is_that_of_numpy() -> None:
    images_BCHW = torch.rand(6, 2, 3, 3)
    expected = images_BCHW.numpy().std(0).mean()
    assert image_diversity(images_BCHW) == pytest.approx(expected, rel=1e-5)


def test_feature_diversity_is_that_of_numpy_at_any_scale() -> None:
    features_BF = torch.randn(8, 5) + 2
    values_BF = features_BF.double().numpy()
    expected = values_BF.var(0).sum() / (values_BF**2).mean(0).sum()
    assert 0 < expected < 1
    for scale in (1.0, 1e-6, 1e6):
        assert feature_diversity(scale * features_BF) == pytest.approx(
            expected, rel=1e-5)


@pytest.mark.parametrize('features_BF, expected', [
    (torch.ones(4, 3), 0.0),
    (torch.zeros(4, 3), 0.0),
    (torch.tensor([[1.0], [-1.0]]), 1.0),
])
def test_feature_diversity_has_its_bounds(features_BF: torch.Tensor,
                                          expected: float) -> None:
    assert feature_diversity(features_BF) == expected


@pytest.mark.parametrize('first_K, second_K, agreed, expected', [
    ([5, 5], [5, 5], 10, 1.0),
    ([5, 5], [5, 5], 0, -1.0),
    ([10, 0], [7, 3], 7, 0.0),
    ([10, 0], [10, 0], 10, 0.0),
])
def test_kappas_that_are_known(first_K: list[int], second_K: list[int],
                               agreed: int, expected: float) -> None:
    assert kappa(first_K, second_K, agreed) == pytest.approx(expected)
