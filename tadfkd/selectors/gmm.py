"""The lenient expert: which losses belong to the lower of two Gaussians?"""
import math

import torch
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.registry import SELECTORS
from tadfkd.selectors.base_selector import ComparingSelector, Scope

# The fit of arXiv 2402.12406's released code, a scikit-learn GaussianMixture.
#: Largest number of iterations of expectation maximisation.
MAX_ITERATIONS = 10
#: The fit stops when the mean log-likelihood (nats) changes by less.
TOLERANCE = 1e-2
#: Added to both variances in each iteration.
COVARIANCE_FLOOR = 5e-4


@SELECTORS.register_module()
class GMMSelector(ComparingSelector):
    """Keep the samples in the low-loss component of a Gaussian mixture.

    The loss l_i is the cross-entropy of the teacher against its own argmax,
    scaled to [0, 1] over the batch. Expectation maximisation fits a
    one-dimensional mixture of two Gaussians, starting from a two-means split.
    Sample i is kept if the posterior of the component with the lower mean
    exceeds ``threshold``. arXiv 2402.12406.

    The result agrees with scikit-learn's ``GaussianMixture`` wherever its
    k-means start finds the best split. Here the start is the exact optimum,
    found by sorting. If all losses are equal, every finite sample is kept.

    Args:
        threshold: A sample is kept if its posterior exceeds this number, in
            (0, 1).
        min_selected: See :class:`BaseSelector`.
        scope: See :class:`ComparingSelector`.

    Example:
        >>> from tadfkd.structures import TeacherOutput
        >>> logits_BK = torch.tensor([[9.0, 0.0], [0.2, 0.0], [0.0, 8.0]])
        >>> GMMSelector().select(TeacherOutput(logits_BK))
        tensor([ True, False,  True])
    """

    def __init__(self,
                 threshold: float = 0.5,
                 min_selected: int = 1,
                 scope: Scope = 'global') -> None:
        super().__init__(min_selected, scope)
        if not 0 < threshold < 1:
            raise UserError(f'threshold must be in (0, 1), got {threshold!r}: '
                            'set model.selector.threshold')
        self.threshold = threshold

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
            weights_B: Float64, 1 for a value in the fit and 0 for a value
                outside of it.

        Returns:
            Posterior in [0, 1] of the component with the lower mean.
        """
        responsibility_2B = self._two_means(values_B, weights_B)
        parameters = self._maximise(values_B, weights_B, responsibility_2B)
        bound = values_B.new_full((), -torch.inf)
        done = torch.zeros((), dtype=torch.bool, device=values_B.device)
        for _ in range(MAX_ITERATIONS):
            joint_2B = self._log_joint(values_B, parameters)
            evidence_B = joint_2B.logsumexp(0)
            new_bound = (weights_B * evidence_B).sum() / weights_B.sum()
            new_parameters = self._maximise(values_B, weights_B,
                                            (joint_2B - evidence_B).exp())
            # After convergence the parameters stay. The loop runs on, because
            # reading from the device whether to stop makes the host wait.
            parameters = tuple(
                torch.where(done, old, new)
                for old, new in zip(parameters, new_parameters))
            done = done | ((new_bound - bound).abs() < TOLERANCE)
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
            # NaN marks an invalid split: one side is empty.
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
            1, keepdim=True) / count_21 + COVARIANCE_FLOOR
        return count_21 / count_21.sum(), means_21, variances_21

    @staticmethod
    def _log_joint(values_B: Tensor, parameters: tuple[Tensor, ...]) -> Tensor:
        """Log of mixing weight times density, shape (2, B)."""
        weights_21, means_21, variances_21 = parameters
        return weights_21.log() - 0.5 * (
            math.log(2 * math.pi) + variances_21.log() +
            (values_B - means_21)**2 / variances_21)
