"""TA-DFKD as a plain loop, to measure the cost of the framework."""
import copy
from typing import Any

import torch
from mmengine.optim import OptimWrapperDict
from torch import Tensor, nn

from benchmarks.floor import Copies
from examples import tadfkd_plain
from tadfkd.algorithms import TADFKD
from tadfkd.errors import UserError
from tadfkd.selectors import GMMSelector
from tadfkd.teachers import BaseTeacher
from tadfkd.utils.randomness import RandomStreams


class BareLoop(Copies):
    """The steps of ``examples/tadfkd_plain.py`` on copies of a model's
    networks.

    The loop draws the same random numbers as the model. With the losses of
    the paper it reaches the same weights bit for bit.

    Args:
        model: An untrained model, which does not change.
        wrappers: See :class:`~benchmarks.floor.Copies`.

    Raises:
        UserError: If the model is of another algorithm, or has what the plain
            script lacks: a class prior, labels, augmentation, or another
            selector.
    """

    def __init__(self, model: TADFKD, wrappers: OptimWrapperDict) -> None:
        if not isinstance(model, TADFKD) or model.class_prior is not None \
                or model.generator.num_classes is not None \
                or model.candidates.augment is not None \
                or not isinstance(model.candidates.selector, GMMSelector):
            raise UserError(
                'the plain loop is TADFKD with GMMSelector, without class '
                f'prior, labels and augmentation, got {type(model).__name__}: '
                'name a config of configs/tadfkd/ and set model.augment=None')
        super().__init__(model, wrappers)
        teacher = copy.deepcopy(model.teacher)
        self.compile_like_model(teacher.network, teacher.lean)
        self._teacher = _Teacher(teacher, self.autocast)
        self._student = _Student(self.student, model.student_input,
                                 self.autocast)
        streams = RandomStreams(model.streams.seed, model.streams.rank)
        streams.load_state_dict(model.streams.state_dict())
        self._stream = streams.get('latents', model.device)
        shape = (model.generator.image_channels, *model.generator.image_size)
        self._waiting = [
            torch.empty(0, *size, device=model.device)
            for size in (shape, (model.num_classes, ))
        ]

    def student_step(self) -> Tensor:
        """Train the student once, and return the loss."""
        return tadfkd_plain.student_step(self._teacher, self._student,
                                         self.student_optimizer, self._sample,
                                         self._waiting, self.model.batch_size)

    def generator_step(self) -> Tensor:
        """Train the generator once, and return the loss."""
        return tadfkd_plain.generator_step(self._teacher, self._student,
                                           self.generator_optimizer,
                                           self._sample)

    def _sample(self) -> Tensor:
        latents_BZ = torch.randn(
            self.model.batch_size,
            self.generator.latent_size,
            generator=self._stream,
            device=self._stream.device)
        with self.autocast():
            return self.generator(latents_BZ)


class _Teacher(nn.Module):
    """images in [0, 1] -> float32 logits_BK."""

    def __init__(self, teacher: BaseTeacher, autocast: Any) -> None:
        super().__init__()
        self.teacher = teacher
        self.autocast = autocast

    def normalize(self, images_BCHW: Tensor) -> Tensor:
        """As the teacher does."""
        return self.teacher.input_adapter.normalize(images_BCHW)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Compiled networks run eagerly where statistics are read."""
        with self.autocast(), torch.compiler.set_stance(
                'force_eager' if images_BCHW.requires_grad else 'default'):
            return self.teacher(images_BCHW).logits_BK.float()


class _Student(nn.Module):
    """images in [0, 1] -> float32 logits_BK."""

    def __init__(self, network: nn.Module, adapter: nn.Module,
                 autocast: Any) -> None:
        super().__init__()
        self.network, self.adapter = network, adapter
        self.autocast = autocast

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """The network on normalised images."""
        with self.autocast():
            return self.network(
                self.adapter(images_BCHW), mode='tensor').float()
