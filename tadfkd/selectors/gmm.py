"""The lenient expert."""
import math

import torch
from torch import Tensor

from tadfkd.errors import UserError, require_at_least
from tadfkd.registry import SELECTORS
from tadfkd.selectors.base_selector import ComparingSelector, Scope


@SELECTORS.register_module()
class GMMSelector(ComparingSelector):
    """Keep what belongs to the low-loss component of a Gaussian mixture.

    The cross-entropy l_i of the teacher against its own argmax is scaled to
    [0, 1] over the batch; a one-dimensional mixture of two Gaussians is
    fitted to it by expectation maximisation from a two-means start; sample i
    is kept if the posterior of the component with the lower mean exceeds
    ``threshold``. arXiv 2402.12406.

    Agrees with scikit-learn's ``GaussianMixture`` on the same data wherever
    its k-means start finds the best split; here the start is the exact
    optimum, found by sorting. If all losses are equal there is nothing to
    tell apart, and every finite sample is kept.

    Args:
        threshold: Posterior that a kept sample must exceed, in (0, 1).
        max_iterations: Bound on the iterations of the fit, >= 1.
        tolerance: The fit stops when the mean log-likelihood (nats) changes
            by less, > 0.
        covariance_floor: Added to both variances at each iteration, > 0.
        min_selected: See :class:`BaseSelector`.
        scope: See :class:`ComparingSelector`.
    """

    def __init__(self,
                 threshold: float = 0.5,
                 max_iterations: int = 10,
                 tolerance: float = 1e-2,
                 covariance_floor: float = 5e-4,
                 min_selected: int = 1,
                 scope: Scope = 'global') -> None:
        super().__init__(min_selected, scope)
        require_at_least('model.selector', 'max_iterations', max_iterations, 1)
        require_at_least('model.selector', 'tolerance', tolerance, 1e-12)
        require_at_least('model.selector', 'covariance_floor',
                         covariance_floor, 1e-12)
        if not 0 < threshold < 1:
            raise UserError(f'threshold must be in (0, 1), got {threshold!r}: '
                            'set model.selector.threshold')
        self.threshold = threshold
        self.max_iterations = max_iterations
        self.tolerance = tolerance
        self.covariance_floor = covariance_floor

    def compare(self, loss_B: Tensor, finite_B: Tensor) -> Tensor:
        """See :meth:`ComparingSelector.compare`."""
        lowest = loss_B.masked_fill(~finite_B, torch.inf).amin()
        highest = loss_B.masked_fill(~finite_B, -torch.inf).amax()
        spread = highest - lowest
        scaled_B = torch.where(finite_B, (loss_B - lowest) / spread, 0.0)
        posterior_B = self.low_mean_posterior(scaled_B.double(),
                                              finite_B.double())
        return (posterior_B > self.threshold) | ~(spread > 0)

    def low_mean_posterior(self, values_B: Tensor,
                           weights_B: Tensor) -> Tensor:
        """Fit the mixture and return the low component's posterior.

        Args:
            values_B: Finite float64 values.
            weights_B: Float64, 1 for a value that counts and 0 for one that
                does not.

        Returns:
            Posterior in [0, 1] of the component with the lower mean.
        """
        responsibility_2B = self._two_means(values_B, weights_B)
        parameters = self._maximise(values_B, weights_B, responsibility_2B)
        bound = values_B.new_full((), -torch.inf)
        done = torch.zeros((), dtype=torch.bool, device=values_B.device)
        for _ in range(self.max_iterations):
            joint_2B = self._log_joint(values_B, parameters)
            evidence_B = joint_2B.logsumexp(0)
            new_bound = (weights_B * evidence_B).sum() / weights_B.sum()
            new_parameters = self._maximise(values_B, weights_B,
                                            (joint_2B - evidence_B).exp())
            # After convergence the parameters stay; asking the device
            # whether to stop would cost more than the idle iterations.
            parameters = tuple(
                torch.where(done, old, new)
                for old, new in zip(parameters, new_parameters))
            done = done | ((new_bound - bound).abs() < self.tolerance)
            bound = new_bound
        posterior_2B = self._log_joint(values_B, parameters).softmax(0)
        means_2 = parameters[1].squeeze(1)
        return torch.where(means_2[0] <= means_2[1], posterior_2B[0],
                           posterior_2B[1])

    @staticmethod
    def _two_means(values_B: Tensor, weights_B: Tensor) -> Tensor:
        """The split into two clusters of least squared error, as 0 and 1."""
        order_B = torch.where(weights_B > 0, values_B, torch.inf).argsort()
        value_B, weight_B = values_B[order_B], weights_B[order_B]
        moments_3B = torch.stack(
            (weight_B, weight_B * value_B, weight_B * value_B**2)).cumsum(1)

        def squared_error(moments: Tensor) -> Tensor:
            # Not a number where a side is empty: no valid split.
            return moments[2] - moments[1]**2 / moments[0]

        error_B = squared_error(moments_3B) + squared_error(
            moments_3B[:, -1:] - moments_3B)
        last_of_low = error_B.nan_to_num(nan=torch.inf).argmin()
        low_B = torch.empty_like(values_B)
        low_B[order_B] = (torch.arange(len(values_B), device=values_B.device)
                          <= last_of_low).double()
        return torch.stack((low_B, 1 - low_B))

    def _maximise(self, values_B: Tensor, weights_B: Tensor,
                  responsibility_2B: Tensor) -> tuple[Tensor, ...]:
        """Mixing weights, means and variances, each of shape (2, 1)."""
        weighted_2B = responsibility_2B * weights_B
        count_21 = weighted_2B.sum(1, keepdim=True) \
            + 10 * torch.finfo(values_B.dtype).eps
        means_21 = (weighted_2B * values_B).sum(1, keepdim=True) / count_21
        variances_21 = (weighted_2B * (values_B - means_21)**2).sum(
            1, keepdim=True) / count_21 + self.covariance_floor
        return count_21 / count_21.sum(), means_21, variances_21

    @staticmethod
    def _log_joint(values_B: Tensor, parameters: tuple[Tensor, ...]) -> Tensor:
        """Log of mixing weight times density, shape (2, B)."""
        weights_21, means_21, variances_21 = parameters
        return weights_21.log() - 0.5 * (
            math.log(2 * math.pi) + variances_21.log() +
            (values_B - means_21)**2 / variances_21)
