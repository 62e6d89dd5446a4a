"""Noisy layer data generation (CVPR 2024)."""
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor
from torch.func import functional_call

from tadfkd.algorithms.building import require_generator
from tadfkd.algorithms.inversion import InversionDFKD
from tadfkd.errors import require_at_least
from tadfkd.networks.freezing import frozen
from tadfkd.registry import MODELS


@MODELS.register_module()
class NAYER(InversionDFKD):
    """Variety out of a layer that begins anew, not out of the latents.

    The generator takes the embedding e_y of a label through a noisy linear
    layer W, which is drawn anew for each synthesis::

        generator:  0.5 CE(T(x), y) + 10 BN(x),  x = G(W BN(e_y))
                    - 1.33 KL(softmax T(x) || softmax S(x)) where both agree
        student:    20^2 KL(softmax T(x) / 20 || softmax S(x) / 20) on the pool

    where the statistics are averaged with those of syntheses before. From
    time to time the whole generator begins anew. arXiv 2310.00258.

    Args:
        reset_interval: Iterations from one new generator to the next, >= 1.
        one_hot_loss: See :class:`InversionDFKD`.
        bn_loss: Likewise.
        bn_momentum: Likewise.
        adversarial_loss: Likewise.
        **inversion: Everything else of :class:`InversionDFKD`; the generator
            is a :class:`~tadfkd.generators.LabelEmbeddingGenerator`.
    """

    def __init__(self,
                 reset_interval: int = 10,
                 one_hot_loss: dict = dict(type='OneHotLoss', loss_weight=0.5),
                 bn_loss: dict = dict(
                     type='BNStatisticsLoss', loss_weight=10.0),
                 bn_momentum: float = 0.9,
                 adversarial_loss: dict = dict(
                     type='AgreedKLLoss', loss_weight=1.33),
                 **inversion: Any) -> None:
        super().__init__(
            one_hot_loss=one_hot_loss,
            bn_loss=bn_loss,
            bn_momentum=bn_momentum,
            adversarial_loss=adversarial_loss,
            # The generator reads none.
            latent_lr=0.0,
            **inversion)
        require_generator(self, 'LabelEmbeddingGenerator', 'reset_noise',
                          'draw_noise')
        require_at_least('model', 'reset_interval', reset_interval, 1)
        self.reset_interval = reset_interval

    def begin_synthesis(self, wrapper: OptimWrapper) -> None:
        """A new noisy layer, and now and then a new generator."""
        if self.iterations > 0 and self.iterations % self.reset_interval == 0:
            self.reinitialize(self.bare_generator)
        self.bare_generator.reset_noise(
            self.streams.get('noisy_layer', shared=True))
        wrapper.optimizer.state.clear()

    @torch.no_grad()
    def synthesize(self, size: int, purpose: str = 'held_out') -> Tensor:
        """Images of noisy layers that training never draws. See
        :meth:`DistillationNetworks.synthesize`."""
        network = self.bare_generator
        stream = self.streams.fresh(purpose, self.device)
        labels_B = self.sample_labels(size, stream)
        noisy_GEZ = network.draw_noise(stream)
        with frozen(network):
            return functional_call(network, dict(noisy_GEZ=noisy_GEZ),
                                   (None, labels_B))
