"""The passes that a step cannot do without, each by itself."""
import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from mmengine.optim import OptimWrapperDict
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.copies import Copies
from tadfkd.algorithms import TADFKD


@dataclass(frozen=True)
class Needs:
    """How often a step of TA-DFKD needs which pass.

    Attributes:
        rounds: Batches of candidates that a student step generated.
        selected: Images that a generator step's losses saw.
    """

    rounds: int
    selected: int


class Floor(Copies):
    """Forward and backward passes of the networks of a model in isolation.

    On copies of student and generator, so that the model does not change.

    Args:
        model: Its networks, batch size and options.
        wrappers: Of its optimisers, whose settings are copied.
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
        """By step and name: how often, and a function that does it once."""
        model, selected = self.model, needs.selected
        selects = model.candidates.selector.reads_teacher
        changes_view = model.candidates.augment is not None and \
            model.candidates.select_on == 'plain'
        images_MCHW = self.images_BCHW[:selected]
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
            logits_MK = self.teacher.raw_forward(
                self.teacher.network, self.teacher.input_adapter(images_MCHW))
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
        teacher = self.teacher
        return teacher.raw_forward(teacher.fastest,
                                   teacher.input_adapter(images_BCHW))


def flops(function: Callable[[], None]) -> int:
    """Floating-point operations of products and convolutions in a call; a
    multiply-add counts as two."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()
