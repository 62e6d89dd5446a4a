"""One batch of images trains the generator and the student."""
from abc import abstractmethod
from typing import Any

import torch
from mmengine.optim import OptimWrapperDict

from tadfkd.algorithms.base import BaseDFKD, Losses, prefixed
from tadfkd.errors import require_at_least
from tadfkd.structures import SyntheticBatch, TeacherOutput


class JointDFKD(BaseDFKD):
    """A generator step, then student steps on images of the same latents.

    The student steps share one batch of images and the teacher's answer to
    it. These are the images of the generator step itself, unless
    ``student_sees_update`` is set. Both networks learn from the selected
    images of a batch, so the number of their samples varies. The selector
    judges the view that the losses see.

    Args:
        num_student_steps: Student steps per batch, >= 1.
        num_generator_steps: Batches per iteration, >= 1.
        **base: See :class:`~tadfkd.algorithms.base.BaseDFKD`.
    """

    #: Whether the generator makes the student's images again, from the same
    #: latents, after its update. The teacher then answers a second time.
    student_sees_update = False

    def __init__(self,
                 num_student_steps: int = 1,
                 num_generator_steps: int = 1,
                 **base: Any) -> None:
        super().__init__(**base)
        require_at_least('model', 'num_student_steps', num_student_steps, 1)
        require_at_least('model', 'num_generator_steps', num_generator_steps,
                         1)
        self.num_student_steps = num_student_steps
        self.num_generator_steps = num_generator_steps

    @property
    def total_student_steps(self) -> int:
        """See :attr:`BaseDFKD.total_student_steps`."""
        return super().total_student_steps * self.num_generator_steps

    def train_step(self, data: object,
                   optim_wrapper: OptimWrapperDict) -> Losses:
        """See :meth:`BaseDFKD.train_step`."""
        for _ in range(self.num_generator_steps):
            losses = self.joint_step(optim_wrapper)
        return losses

    def joint_step(self, optim_wrapper: OptimWrapperDict) -> Losses:
        """Train the generator once and the student ``num_student_steps``
        times, all on images of one batch of latents."""
        source, wrapper = self.candidates, optim_wrapper['generator']
        latents_BZ, labels_B = source.inputs(self.batch_size)
        with self.train_only('generator', wrapper):
            selected, output = self.selected_images(
                source.made_from(latents_BZ, labels_B, self.generator))
            losses = self.joint_losses(selected, output)
        generator_losses = self.update('generator', wrapper,
                                       (losses, len(selected)))
        wrapper = optim_wrapper['student']
        for step in range(self.num_student_steps):
            with self.train_only('student', wrapper):
                if step == 0 and self.student_sees_update:
                    # Within the step, so that a skipped step restores the
                    # statistics of the generator's batch norms.
                    with torch.no_grad():
                        selected, output = self.selected_images(
                            source.made_from(latents_BZ, labels_B))
                images_BCHW = selected.views_BCHW.detach()
                target = output.detach()
                losses = self.student_losses(images_BCHW, target)
            student_losses = self.update('student', wrapper,
                                         (losses, len(images_BCHW)))
        return prefixed('generator', generator_losses) | prefixed(
            'student', student_losses)

    def selected_images(
            self,
            batch: SyntheticBatch) -> tuple[SyntheticBatch, TeacherOutput]:
        """The selected images in their augmented view, and the teacher's
        answer to it."""
        source = self.candidates
        return source.select_with_output(
            source.augmented(batch), **self.teacher_options())

    def teacher_options(self) -> dict[str, Any]:
        """What the losses read beside the teacher's logits, as keywords of
        :meth:`~tadfkd.teachers.BaseTeacher.forward`."""
        return {}

    @abstractmethod
    def joint_losses(self, selected: SyntheticBatch,
                     output: TeacherOutput) -> Losses:
        """The terms whose sum the generator minimises.

        Args:
            selected: Images with their graph.
            output: The teacher's answer to their views, with its graph.
        """
