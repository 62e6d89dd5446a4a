"""Dreaming to distill: data-free transfer via DeepInversion (CVPR 2020)."""
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor

from tadfkd.algorithms.base import Losses
from tadfkd.algorithms.building import build_image_losses
from tadfkd.algorithms.inversion import InversionDFKD
from tadfkd.errors import UserError
from tadfkd.registry import MODELS
from tadfkd.structures import SyntheticBatch, TeacherOutput


@MODELS.register_module()
class DeepInversion(InversionDFKD):
    """Images whose pixels are optimised until the teacher recognises them.

    With images x, each of a class y that is drawn for it::

        images:   CE(T(x), y) + 10 BN(x) + 2.5e-5 TV(x) + 1e-3 ||x||_2
        student:  20^2 KL(softmax T(x) / 20 || softmax S(x) / 20) on the pool

    Each batch starts from noise, and is seen shifted by up to two pixels.
    arXiv 1912.08795. Both image terms are norms over a batch of 256 normalised
    images in the released code. The configs have sqrt(256) times its weights,
    on the means of the samples' norms, which do not depend on the batch size.

    NVIDIA's released code means to keep the images of the lowest loss. It
    keeps a reference to the trained tensor, which the next step changes, so
    its best images are always the last ones. Here they are copied.

    Args:
        image_losses: Config of an :class:`~tadfkd.losses.ImageLoss` by name;
            each sees normalised images.
        **inversion: See :class:`InversionDFKD`. The generator is a
            :class:`~tadfkd.generators.PixelGenerator`.

    Raises:
        UserError: If the generator is another, or has too few images.
    """

    def __init__(self, image_losses: dict[str, dict],
                 **inversion: Any) -> None:
        super().__init__(**inversion)
        if getattr(self.bare_generator, 'batch_size',
                   0) < self.synthesis_batch_size:
            raise UserError(
                'the generator must be a PixelGenerator with batch_size >= '
                f'{self.synthesis_batch_size}, as many images as a synthesis '
                'makes: set model.generator.batch_size')
        self.image_losses = build_image_losses(image_losses)

    def begin_synthesis(self, wrapper: OptimWrapper) -> None:
        """New noise, and an optimiser without a past."""
        self.bare_generator.reset(self.streams.get('pixels', self.device))
        wrapper.optimizer.state.clear()

    def extra_losses(self, batch: SyntheticBatch,
                     output: TeacherOutput) -> Losses:
        """The image terms."""
        views_BCHW = self.teacher.input_adapter.normalize(batch.views_BCHW)
        return {
            name: loss(views_BCHW)
            for name, loss in self.image_losses.items()
        }

    @torch.no_grad()
    def synthesize(self, size: int, purpose: str = 'held_out') -> Tensor:
        """Images of the pool, or noise while the pool is empty. See
        :meth:`BaseDFKD.synthesize`."""
        if len(self.pool) > 0:
            stream = self.streams.fresh(purpose)
            return self.pool.sample(size, stream).to(self.device)
        return torch.rand((size, self.bare_generator.image_channels,
                           *self.bare_generator.image_size),
                          generator=self.streams.fresh(purpose, self.device),
                          device=self.device)


@MODELS.register_module()
class ADI(DeepInversion):
    """Adaptive DeepInversion: images that the student does not know yet.

    ::

        images:   CE(T(x), y) + 10 BN(x) + 2.5e-5 TV(x) + 1e-3 ||x||_2
                  + 1 - JS_3(S(x), T(x))

    arXiv 1912.08795. The constant 1 has no gradient and is left out.

    Args:
        adversarial_loss: See :class:`InversionDFKD`.
        **deep_inversion: See :class:`DeepInversion`.
    """

    def __init__(self, adversarial_loss: dict, **deep_inversion: Any) -> None:
        super().__init__(adversarial_loss=adversarial_loss, **deep_inversion)
