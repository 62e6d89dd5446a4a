"""Weights of losses that give each a share of the gradient."""
import math
from collections.abc import Callable

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from tadfkd.errors import UserError, require_at_least

Losses = dict[str, Tensor]


class CalibratedWeights:
    """Weights that are found once, from gradients at images.

    With g_i the norm of the gradient of loss i at an image, averaged over the
    images where it is not 0::

        w_i = (share_i / g_i) / min_j (share_j / g_j),   at most 1e3

    So the losses have the same say with any teacher, whatever the scale of
    its logits and the number of its layers. The least weight is 1. A loss
    that has no gradient at all keeps the weight 1, and a loss without a share
    too.

    Args:
        shares: By name of a loss, its share, > 0. Only their ratios count.

    Attributes:
        weights: By name; empty until they are known.
    """

    #: The largest weight.
    LIMIT = 1e3

    def __init__(self, shares: dict[str, float]) -> None:
        if not shares:
            raise UserError('loss_shares must name at least one loss, got '
                            'none: set model.loss_shares')
        for name, share in shares.items():
            require_at_least('model.loss_shares', name, share, 1e-12)
        self.shares = dict(shares)
        self.weights: dict[str, float] = {}

    def find(self, losses_of: Callable[[Tensor], Losses],
             images_BCHW: Tensor) -> None:
        """Find the weights, the same ones in all processes.

        Args:
            losses_of: The scalar losses of images; each is a mean over them.
            images_BCHW: Float in [0, 1], typical of what will be generated.

        Raises:
            UserError: If a share is given to a loss that does not exist
                (``bn`` may be missing), or no loss has a gradient that
                is finite and not 0.
        """
        images_BCHW = images_BCHW.detach().requires_grad_()
        losses = losses_of(images_BCHW)
        # A teacher without batch norm has no such loss.
        names = [name for name in self.shares if name in losses]
        unknown = self.shares.keys() - losses.keys() - {'bn'}
        if unknown or not names:
            raise UserError(
                f'loss_shares names {", ".join(sorted(unknown)) or "bn"}, '
                f'and the losses are {", ".join(losses)}: change '
                'model.loss_shares')
        norms = torch.stack(
            [self._norm(losses[name], images_BCHW) for name in names])
        all_reduce(norms, 'mean')
        ratios = {
            name: self.shares[name] / norm
            for name, norm in zip(names, norms.tolist()) if 0 < norm < math.inf
        }
        if not ratios:
            raise UserError(
                f'no loss of loss_shares ({", ".join(names)}) has a gradient '
                'at procedural images that is finite and not 0: name others '
                'in model.loss_shares, or leave loss_shares out')
        least = min(ratios.values())
        self.weights = {
            name: min(self.LIMIT,
                      ratios.get(name, least) / least)
            for name in names
        }

    def applied(self, losses: Losses) -> Losses:
        """The losses, each times its weight."""
        return {
            name: self.weights.get(name, 1.0) * loss
            for name, loss in losses.items()
        }

    @staticmethod
    def _norm(loss: Tensor, images_BCHW: Tensor) -> Tensor:
        if not loss.requires_grad:
            return images_BCHW.new_zeros(())
        gradient_BCHW, = torch.autograd.grad(
            loss, images_BCHW, retain_graph=True, allow_unused=True)
        if gradient_BCHW is None:
            return images_BCHW.new_zeros(())
        norms_B = len(images_BCHW) * torch.linalg.vector_norm(
            gradient_BCHW.flatten(1), dim=1)
        return norms_B.sum() / (norms_B > 0).sum().clamp_min(1)
