"""The network passes that a training step cannot avoid, one by one."""
import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from mmengine.optim import OptimWrapperDict
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tadfkd.algorithms import TADFKD
from tadfkd.engine import AutocastOptimWrapper
from tadfkd.networks.compiling import compile_in_place
from tadfkd.networks.padding import padded


@dataclass(frozen=True)
class Needs:
    """What decides how often a step of TA-DFKD makes each pass.

    Attributes:
        rounds: Batches of candidates that a student step generated.
        selected: Images that entered the losses of a generator step.
    """

    rounds: int
    selected: int


class Copies:
    """Copies of a model's student and generator, which train separately.

    Args:
        model: Does not change.
        wrappers: The wrappers of its optimisers. Each copy gets an optimiser
            with the same settings.
    """

    def __init__(self, model: TADFKD, wrappers: OptimWrapperDict) -> None:
        self.model = model
        self.generator = copy.deepcopy(model.generator)
        self.student = copy.deepcopy(model.student)
        self.compile_like_model(self.generator, self.student)
        self.student_optimizer = _copied(wrappers['student'].optimizer,
                                         self.student)
        self.generator_optimizer = _copied(wrappers['generator'].optimizer,
                                           self.generator)
        self.is_autocast = isinstance(wrappers['student'],
                                      AutocastOptimWrapper)

    def compile_like_model(self, *networks: nn.Module | None) -> None:
        """Compile networks if the model compiles its own: a copy of a
        compiled network is not compiled."""
        if self.model.compiled_with:
            compile_in_place(self.model.compiled_with, *networks)

    def autocast(self) -> torch.autocast:
        """The context of forward passes, as the model's wrappers have it."""
        return torch.autocast(
            self.model.device.type, torch.bfloat16, enabled=self.is_autocast)


def _copied(optimizer: torch.optim.Optimizer,
            network: nn.Module) -> torch.optim.Optimizer:
    return type(optimizer)(network.parameters(), **optimizer.defaults)


class Floor(Copies):
    """Forward and backward passes of a model's networks, each in isolation.

    The passes run on copies of student and generator, so the model does not
    change.

    Args:
        model: Gives networks, batch size and options.
        wrappers: See :class:`Copies`.
    """

    def __init__(self, model: TADFKD, wrappers: OptimWrapperDict) -> None:
        super().__init__(model, wrappers)
        self.teacher = model.teacher
        self.frozen_student = copy.deepcopy(model.student)
        self.frozen_student.eval().requires_grad_(False)
        device = model.device
        self.latents_BZ = torch.randn(
            model.batch_size, self.generator.latent_size, device=device)
        with torch.no_grad():
            self.images_BCHW = self.generator(self.latents_BZ)
            self.target_BK = self._teacher(self.images_BCHW)

    def passes(
            self, needs: Needs
    ) -> dict[str, dict[str, tuple[int, Callable[[], None]]]]:
        """By step and pass: how often a step needs the pass, and a function
        that makes the pass once."""
        model, selected = self.model, needs.selected
        selects = model.candidates.selector.reads_teacher
        changes_view = model.candidates.augment is not None and \
            model.candidates.select_on == 'plain'
        # As many as the framework's passes have.
        images_MCHW = padded(self.images_BCHW[:selected], model.pad_to)
        return dict(
            student={
                'generator forward': (needs.rounds, self.generate),
                'teacher forward':
                (needs.rounds * selects + (changes_view or not selects),
                 self.raw_forward),
                'student update': (1, self.train_student),
            },
            generator={
                'teacher forward': (int(selects), self.raw_forward),
                'teacher forward and gradient':
                (1, lambda: self.ask_with_gradient(images_MCHW)),
                'student forward and gradient':
                (1, lambda: self.student_with_gradient(images_MCHW)),
                'generator update': (1, self.train_generator),
            })

    def generate(self) -> None:
        """Forward of the generator."""
        with torch.no_grad(), self.autocast():
            self.generator(self.latents_BZ)

    def raw_forward(self) -> None:
        """Forward of the teacher."""
        with torch.no_grad(), self.autocast():
            self._teacher(self.images_BCHW)

    def train_student(self) -> None:
        """Forward, backward and update of the student."""
        with self.autocast():
            loss = self.model.student_loss(
                self.student(
                    self.model.student_input(self.images_BCHW), mode='tensor'),
                self.target_BK)
        loss.backward()
        self.student_optimizer.step()
        self.student_optimizer.zero_grad()

    def ask_with_gradient(self, images_MCHW: Tensor) -> None:
        """Forward of the teacher, backward to its images."""
        images_MCHW = images_MCHW.detach().requires_grad_()
        with self.autocast():
            logits_MK = self.teacher.logits(
                self.teacher.input_adapter(images_MCHW))
        logits_MK.sum().backward()

    def student_with_gradient(self, images_MCHW: Tensor) -> None:
        """Forward of the frozen student, backward to its images."""
        images_MCHW = images_MCHW.detach().requires_grad_()
        with self.autocast():
            logits_MK = self.frozen_student(
                self.model.student_input(images_MCHW), mode='tensor')
        logits_MK.sum().backward()

    def train_generator(self) -> None:
        """Forward, backward and update of the generator."""
        with self.autocast():
            images_BCHW = self.generator(self.latents_BZ)
        images_BCHW.sum().backward()
        self.generator_optimizer.step()
        self.generator_optimizer.zero_grad()

    def _teacher(self, images_BCHW: Tensor) -> Tensor:
        return self.teacher(images_BCHW).logits_BK


def flops(function: Callable[[], None]) -> int:
    """Floating-point operations of matrix products and convolutions in a
    call. A multiply-add counts as two."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()
