"""Replay of earlier images, so that the student does not forget them."""
from abc import abstractmethod
from collections.abc import Callable

import torch
from mmengine.dist import get_world_size
from torch import Tensor, nn
from torch.nn import functional

from tadfkd.distributed.reductions import global_means, global_moments
from tadfkd.errors import require_at_least
from tadfkd.memory.ring_buffer import RingBuffer
from tadfkd.networks.freezing import frozen
from tadfkd.registry import MODELS
from tadfkd.teachers import BaseTeacher
from tadfkd.utils.precision import at_least_float32


class BaseReplay(nn.Module):
    """Observes generated images and later returns similar ones."""

    @abstractmethod
    def recall(self, size: int, stream: torch.Generator,
               judge: Callable[[Tensor], Tensor]) -> Tensor | None:
        """images_BCHW in [0, 1] without graph; None while the replay is empty.

        Args:
            size: Number of images, >= 2.
            stream: A generator of the CPU.
            judge: Maps images_BCHW to a scalar, a mean over them, which is
                low for images that the teacher knows.
        """

    def observe(self, images_BCHW: Tensor) -> None:
        """Observe the new images of a student step."""

    def training_state(self) -> dict:
        """State beside the weights."""
        return {}

    def load_training_state(self, state: dict) -> None:
        """Continue from :meth:`training_state`."""


@MODELS.register_module()
class BufferReplay(BaseReplay):
    """Stores some of the images themselves.

    arXiv 2302.14290 keeps ten batches of 64 images. A new batch replaces the
    oldest one every fifth epoch.

    Args:
        num_batches: Number of stored batches, >= 1.
        batch_size: Images per batch, >= 1.
        interval: Student steps from one stored batch to the next, >= 1; the
            first step stores one.
    """

    def __init__(self,
                 num_batches: int,
                 batch_size: int,
                 interval: int = 1) -> None:
        super().__init__()
        for name, value in dict(
                num_batches=num_batches, batch_size=batch_size,
                interval=interval).items():
            require_at_least('model.replay', name, value, 1)
        self.batch_size = batch_size
        self.interval = interval
        self.buffer = RingBuffer(num_batches * batch_size)
        self._steps = 0

    def observe(self, images_BCHW: Tensor) -> None:
        """See :meth:`BaseReplay.observe`."""
        if self._steps % self.interval == 0:
            self.buffer.add(images_BCHW[:self.batch_size])
        self._steps += 1

    def recall(self, size: int, stream: torch.Generator,
               judge: Callable[[Tensor], Tensor]) -> Tensor | None:
        """See :meth:`BaseReplay.recall`; the judge is not asked."""
        if len(self.buffer) == 0:
            return None
        return self.buffer.sample(size, stream)

    def training_state(self) -> dict:
        """See :meth:`BaseReplay.training_state`."""
        return dict(buffer=self.buffer.state_dict(), steps=self._steps)

    def load_training_state(self, state: dict) -> None:
        """See :meth:`BaseReplay.load_training_state`."""
        self.buffer.load_state_dict(state['buffer'])
        self._steps = state['steps']


@MODELS.register_module()
class GenerativeReplay(BaseReplay):
    """A variational autoencoder that learns to generate earlier images.

    It minimises, with reconstructions y of images x (arXiv 2201.03019)::

        mean |n(y) - n(x)| + mean |T(y) - T(x)| + w KL(q(z | x) || N(0, 1))

    where n normalises images as the teacher does. Images are recalled by the
    decoder in eval mode. Their latents are drawn from N(0, 1), and take one
    step of Adam on::

        judge(images) + mean (variance - 1)^2 + mean mean^2

    where the inner mean and the unbiased variance of each latent dimension
    are over the batch. The decoder gets no gradient from this step.

    Args:
        autoencoder: Config of a
            :class:`~tadfkd.generators.VariationalAutoencoder`.
        divergence_weight: w, >= 0.
        latent_lr: Learning rate of the latents, >= 0.
    """

    def __init__(self, autoencoder: dict, divergence_weight: float,
                 latent_lr: float) -> None:
        super().__init__()
        for name, value in dict(
                divergence_weight=divergence_weight,
                latent_lr=latent_lr).items():
            require_at_least('model.replay', name, value, 0.0)
        self.autoencoder = MODELS.build(autoencoder)
        self.divergence_weight = divergence_weight
        self.latent_lr = latent_lr

    def forward(self, images_BCHW: Tensor, teacher_logits_BK: Tensor,
                teacher: BaseTeacher,
                stream: torch.Generator) -> dict[str, Tensor]:
        """The terms whose sum the autoencoder minimises.

        Args:
            images_BCHW: Images to learn, detached.
            teacher_logits_BK: The teacher's logits for them, detached.
            teacher: Normalises images, and classifies the reconstructions.
            stream: Where the noise of the latents is drawn.
        """
        made = self.autoencoder(images_BCHW, stream)
        logits_BK = teacher(made.images_BCHW).logits_BK
        return dict(
            images=functional.l1_loss(
                teacher.input_adapter.normalize(made.images_BCHW),
                teacher.input_adapter.normalize(images_BCHW)),
            logits=functional.l1_loss(
                at_least_float32(logits_BK),
                at_least_float32(teacher_logits_BK)),
            divergence=self.divergence_weight * made.divergence)

    @torch.no_grad()
    def recall(self, size: int, stream: torch.Generator,
               judge: Callable[[Tensor], Tensor]) -> Tensor | None:
        """See :meth:`BaseReplay.recall`."""
        decoder = self.autoencoder.decoder
        latents_BZ = torch.randn(size, decoder.latent_size, generator=stream)
        latents_BZ = latents_BZ.to(next(self.parameters()).device)
        with frozen(decoder):
            return decoder(self._refined(latents_BZ, judge))

    def _refined(self, latents_BZ: Tensor, judge: Callable[[Tensor],
                                                           Tensor]) -> Tensor:
        """The latents after one step of Adam."""
        with torch.enable_grad():
            latents_BZ.requires_grad_()
            loss = judge(
                self.autoencoder.decoder(latents_BZ)) + _moments(latents_BZ)
            loss = global_means(dict(loss=loss), len(latents_BZ))['loss']
        # Each process has its own latents.
        gradient_BZ = torch.autograd.grad(loss,
                                          latents_BZ)[0] / get_world_size()
        # Adam's first step is the gradient's sign, but for its epsilon.
        return latents_BZ.detach() - self.latent_lr * gradient_BZ / (
            gradient_BZ.abs() + 1e-8)


def _moments(latents_BZ: Tensor) -> Tensor:
    """How far mean and variance of each dimension are from 0 and 1."""
    size = len(latents_BZ)
    variance_Z, mean_Z = torch.var_mean(latents_BZ, 0, correction=0)
    mean_Z, variance_Z = global_moments(mean_Z, variance_Z, size)
    total = size * get_world_size()
    return (variance_Z * total /
            (total - 1) - 1).square().mean() + mean_Z.square().mean()
