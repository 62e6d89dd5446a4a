"""Noisy layer data generation (CVPR 2024)."""
from typing import Any

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor
from torch.func import functional_call

from tadfkd.algorithms.base import Losses
from tadfkd.algorithms.building import require_generator
from tadfkd.algorithms.inversion import InversionDFKD
from tadfkd.errors import require_at_least
from tadfkd.networks.freezing import frozen
from tadfkd.registry import MODELS


@MODELS.register_module()
class NAYER(InversionDFKD):
    """Images vary by a layer that is redrawn, not by latents.

    The generator takes the embedding e_y of a label through a noisy linear
    layer W, which is redrawn for each synthesis::

        generator:  0.5 CE(T(x), y) + 10 BN(x),  x = G(W BN(e_y))
                    - 1.33 KL(softmax T(x) || softmax S(x)) where both agree
        student:    20^2 KL(softmax T(x) / 20 || softmax S(x) / 20) on the pool

    where the statistics are averaged over syntheses. The labels of a
    synthesis are every class in turn, as often as all classes fit; the rest
    are random. Every ``reset_interval`` iterations the whole generator is
    reinitialised. arXiv 2310.00258.

    Args:
        reset_interval: Iterations from one new generator to the next, >= 1.
        num_syntheses: Syntheses per iteration, >= 1.
        num_warmup_syntheses: Syntheses per iteration of the warm-up, >= 1.
        **inversion: See :class:`InversionDFKD`. The generator is a
            :class:`~tadfkd.generators.LabelEmbeddingGenerator`, which reads
            no latents.
    """

    def __init__(self, reset_interval: int, num_syntheses: int,
                 num_warmup_syntheses: int, **inversion: Any) -> None:
        super().__init__(**inversion)
        require_generator(self, self.generator, 'LabelEmbeddingGenerator',
                          'reset_noise', 'draw_noise')
        require_at_least('model', 'reset_interval', reset_interval, 1)
        require_at_least('model', 'num_syntheses', num_syntheses, 1)
        require_at_least('model', 'num_warmup_syntheses', num_warmup_syntheses,
                         1)
        self.reset_interval = reset_interval
        self.num_syntheses = num_syntheses
        self.num_warmup_syntheses = num_warmup_syntheses

    def synthesis(self, optim_wrapper: OptimWrapperDict) -> Losses:
        """All syntheses of an iteration; at intervals by a new generator.

        Returns:
            The losses of the last step of the last synthesis.
        """
        if self.iterations > 0 and self.iterations % self.reset_interval == 0:
            self.reinitialize(self.bare_generator)
        for _ in range(self.num_warmup_syntheses if self.warming_up else self.
                       num_syntheses):
            losses = super().synthesis(optim_wrapper)
        return losses

    def synthesis_labels(self, size: int) -> Tensor:
        """labels_B, every class in turn, then a random rest."""
        return self.candidates.labels_in_turn(size)

    def begin_synthesis(self, wrapper: OptimWrapper) -> None:
        """A new noisy layer, and an optimiser without a past."""
        self.bare_generator.reset_noise(
            self.streams.get('noisy_layer', shared=True))
        wrapper.optimizer.state.clear()

    @torch.no_grad()
    def synthesize(self, size: int, purpose: str = 'held_out') -> Tensor:
        """Images of noisy layers that training never draws. See
        :meth:`BaseDFKD.synthesize`."""
        network = self.bare_generator
        stream = self.streams.fresh(purpose, self.device)
        labels_B = self.candidates.labels(size, stream)
        noisy_GEZ = network.draw_noise(stream)
        with frozen(network):
            return functional_call(network, dict(noisy_GEZ=noisy_GEZ),
                                   (None, labels_B))
