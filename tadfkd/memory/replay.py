"""What keeps a student from forgetting images of long ago."""
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from tadfkd.errors import require_at_least
from tadfkd.memory.ring_buffer import RingBuffer
from tadfkd.registry import MODELS
from tadfkd.teachers import BaseTeacher


class BaseReplay(nn.Module):
    """Takes in generated images and gives back some like them later."""

    @abstractmethod
    def recall(self, size: int, stream: torch.Generator) -> Tensor | None:
        """images_BCHW in [0, 1] without graph; None while there are none.

        Args:
            size: Number of images.
            stream: A generator of the CPU.
        """

    def observe(self, images_BCHW: Tensor) -> None:
        """Take in the new images of a student step."""

    def training_state(self) -> dict:
        """What it holds beside its weights."""
        return {}

    def load_training_state(self, state: dict) -> None:
        """Go on from what :meth:`training_state` gave."""


@MODELS.register_module()
class BufferReplay(BaseReplay):
    """Remembers some of the images themselves.

    arXiv 2302.14290: ten batches of 64 images, of which the oldest goes when
    one is added every fifth epoch.

    Args:
        num_batches: Batches that are kept, >= 1.
        batch_size: Images a batch, >= 1.
        interval: Student steps from one batch to the next, >= 1; the first
            step adds one.
    """

    def __init__(self,
                 num_batches: int = 10,
                 batch_size: int = 64,
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

    def recall(self, size: int, stream: torch.Generator) -> Tensor | None:
        """See :meth:`BaseReplay.recall`."""
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
    """A variational autoencoder that is trained to remember.

    It minimises, with reconstructions y of images x (arXiv 2201.03019)::

        L1(y, x) + L1(T(y), T(x)) + 1e-5 KL(q(z | x) || N(0, 1))

    Args:
        autoencoder: Config of a
            :class:`~tadfkd.generators.VariationalAutoencoder`.
        divergence_weight: Of the last term, >= 0.
    """

    def __init__(self,
                 autoencoder: dict,
                 divergence_weight: float = 1e-5) -> None:
        super().__init__()
        require_at_least('model.replay', 'divergence_weight',
                         divergence_weight, 0.0)
        self.autoencoder = MODELS.build(autoencoder)
        self.divergence_weight = divergence_weight

    def forward(self, images_BCHW: Tensor, teacher_logits_BK: Tensor,
                teacher: BaseTeacher,
                stream: torch.Generator) -> dict[str, Tensor]:
        """The terms whose sum the autoencoder minimises.

        Args:
            images_BCHW: What is to be remembered, detached.
            teacher_logits_BK: For the same images, detached.
            teacher: Asked about the reconstructions.
            stream: Of the latent's noise.
        """
        made = self.autoencoder(images_BCHW, stream)
        logits_BK = teacher(made.images_BCHW).logits_BK
        return dict(
            images=functional.l1_loss(made.images_BCHW, images_BCHW),
            logits=functional.l1_loss(logits_BK.float(),
                                      teacher_logits_BK.float()),
            divergence=self.divergence_weight * made.divergence)

    @torch.no_grad()
    def recall(self, size: int, stream: torch.Generator) -> Tensor | None:
        """See :meth:`BaseReplay.recall`."""
        return self.autoencoder.recall(size, stream)
