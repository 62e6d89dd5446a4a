"""The lenient expert against scikit-learn and brute force."""
import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.selectors import GMMSelector
from tadfkd.structures import TeacherOutput

FLOOR = 5e-4


def bimodal(numbers: np.random.Generator) -> np.ndarray:
    return np.concatenate((numbers.normal(0.1, 0.03,
                                          45), numbers.normal(0.5, 0.05, 15)))


def overlapping(numbers: np.random.Generator) -> np.ndarray:
    return np.concatenate((numbers.normal(0.25, 0.1,
                                          40), numbers.normal(0.45, 0.08, 40)))


def skewed(numbers: np.random.Generator) -> np.ndarray:
    """Like cross-entropies: most near 0, with a long tail."""
    return numbers.exponential(0.08, 100)


def one_outlier(numbers: np.random.Generator) -> np.ndarray:
    return np.append(numbers.normal(0.05, 1e-3, 50), 0.6)


DISTRIBUTIONS = [bimodal, overlapping, skewed, one_outlier]


def logits_of(losses_B: np.ndarray) -> Tensor:
    """Two-class logits whose cross-entropy against the argmax is given.

    log(1 + exp(-gap)) = loss has the solution gap = -log(exp(loss) - 1).
    """
    gaps_B = -np.log(np.expm1(losses_B.clip(1e-4, 0.69)))
    return torch.tensor(np.stack((gaps_B, 0 * gaps_B), 1)).float()


def scaled_losses(logits_BK: Tensor) -> np.ndarray:
    values_BK = logits_BK.double().numpy()
    losses_B = np.log(
        np.exp(values_BK - values_BK.max(1, keepdims=True)).sum(1))
    return (losses_B - losses_B.min()) / (losses_B.max() - losses_B.min())


def best_split(values_B: np.ndarray) -> np.ndarray:
    """The two clusters of least squared error, by trying all thresholds.

    Clusters of numbers are intervals, so the thresholds are all there is.
    """
    best_error, best_low_B = np.inf, np.zeros(0)
    for threshold in np.unique(values_B)[:-1]:
        low_B = values_B <= threshold
        error = sum(((values_B[side] - values_B[side].mean())**2).sum()
                    for side in (low_B, ~low_B))
        if error < best_error:
            best_error, best_low_B = error, low_B
    return best_low_B


def fitted_by_sklearn(values_B: np.ndarray,
                      low_B: np.ndarray | None = None,
                      seed: int = 0) -> np.ndarray:
    """Posterior of the low-mean component of scikit-learn's mixture.

    scikit-learn starts from a single run of k-means, which may end in a
    local optimum. With ``low_B`` it starts from this split instead, so that
    what is compared is the expectation maximisation.
    """
    start = {}
    if low_B is not None:
        sides = [values_B[low_B], values_B[~low_B]]
        start = dict(
            weights_init=[len(side) / len(values_B) for side in sides],
            means_init=np.array([[side.mean()] for side in sides]),
            precisions_init=np.array([[[1 / (side.var() + FLOOR)]]
                                      for side in sides]))
    mixture = GaussianMixture(
        n_components=2,
        max_iter=10,
        tol=1e-2,
        reg_covar=FLOOR,
        random_state=seed,
        **start)
    with warnings.catch_warnings():
        # Ten iterations are not meant to converge on every distribution.
        warnings.simplefilter('ignore', ConvergenceWarning)
        mixture.fit(values_B[:, None])
    return mixture.predict_proba(values_B[:, None])[:, mixture.means_.argmin()]


@pytest.mark.parametrize('seed', range(2))
@pytest.mark.parametrize('distribution', DISTRIBUTIONS)
def test_the_start_is_the_best_split(distribution, seed: int) -> None:
    values_B = distribution(np.random.default_rng(seed))
    tensor_B = torch.tensor(values_B)
    low_2B = GMMSelector._two_means(tensor_B, torch.ones_like(tensor_B))
    assert low_2B[0].bool().tolist() == best_split(values_B).tolist()
    assert torch.equal(low_2B[1], 1 - low_2B[0])


@pytest.mark.parametrize('seed', range(2))
@pytest.mark.parametrize('distribution', DISTRIBUTIONS)
def test_the_posterior_is_that_of_scikit_learn(distribution,
                                               seed: int) -> None:
    values_B = distribution(np.random.default_rng(seed))
    values_B = (values_B - values_B.min()) / np.ptp(values_B)
    tensor_B = torch.tensor(values_B)
    posterior_B = GMMSelector().low_mean_posterior(tensor_B,
                                                   torch.ones_like(tensor_B))
    np.testing.assert_allclose(
        posterior_B.numpy(),
        fitted_by_sklearn(values_B, best_split(values_B)),
        rtol=0,
        atol=1e-8)


def test_a_least_loss_outside_the_low_component_is_not_kept() -> None:
    # A narrow low component below which a wide one reaches: the mixture
    # refuses the sample of least loss, and so does scikit-learn.
    numbers = np.random.default_rng(185)
    logits_BK = logits_of(
        np.concatenate((numbers.normal(0.3, 0.01,
                                       60), numbers.uniform(5e-4, 0.69, 12))))
    losses_B = scaled_losses(logits_BK)
    expected_B = fitted_by_sklearn(losses_B, best_split(losses_B)) > 0.5
    assert not expected_B[losses_B.argmin()] and expected_B.sum() > 50
    mask_B = GMMSelector(min_selected=8).select(TeacherOutput(logits_BK))
    assert mask_B.tolist() == expected_B.tolist()


@pytest.mark.parametrize('threshold', [0.05, 0.5, 0.95])
@pytest.mark.parametrize('distribution', DISTRIBUTIONS)
def test_samples_are_kept_by_the_posterior_of_scikit_learn(
        distribution, threshold: float) -> None:
    logits_BK = logits_of(distribution(np.random.default_rng(1)))
    losses_B = scaled_losses(logits_BK)
    posterior_B = fitted_by_sklearn(losses_B, best_split(losses_B))
    mask_B = GMMSelector(threshold).select(TeacherOutput(logits_BK))
    assert mask_B.tolist() == (posterior_B > threshold).tolist()


@pytest.mark.parametrize('batch', [1, 2, 17])
@pytest.mark.parametrize('level', [0.0, 3.0])
def test_equal_losses_are_all_kept(level: float, batch: int) -> None:
    logits_BK = torch.zeros(batch, 4)
    logits_BK[:, 1] = level
    assert GMMSelector().select(TeacherOutput(logits_BK)).all()


@pytest.mark.parametrize('threshold', [1.0, 0.0, -0.1])
def test_a_threshold_outside_0_and_1_is_refused(threshold: float) -> None:
    with pytest.raises(UserError, match='set model.selector.threshold'):
        GMMSelector(threshold)
