"""What the algorithms share whose networks learn from the same images."""
from abc import abstractmethod
from typing import Any

from mmengine.optim import OptimWrapperDict

from tadfkd.algorithms.base import BaseDFKD, Losses, prefixed
from tadfkd.distributed.reductions import global_means
from tadfkd.networks.freezing import frozen
from tadfkd.structures import SyntheticBatch, TeacherOutput


class JointDFKD(BaseDFKD):
    """One batch of images for a generator step and the student's steps.

    The teacher is asked about it once. With a selector both networks learn
    from the images of the batch that are selected, so their number varies.
    ``num_generator_steps`` is the number of batches an iteration. What is
    selected is always the view that the losses see, by that one answer, and
    never filled up, so ``select_on``, ``max_rounds`` and ``student_first`` are
    not read.
    """

    def train_step(self, data: object,
                   optim_wrapper: OptimWrapperDict) -> Losses:
        """See :meth:`BaseDFKD.train_step`."""
        for _ in range(self.num_generator_steps):
            losses = self.joint_step(optim_wrapper)
        return losses

    def joint_step(self, optim_wrapper: OptimWrapperDict) -> Losses:
        """Train the generator once and the student ``num_student_steps``
        times, all on the images of the generator as it was before."""
        wrapper = optim_wrapper['generator']
        with frozen(self.student), wrapper.optim_context(self.generator):
            selected, output = self.select_and_ask(
                self.augmented(self.generate(self.batch_size, self.generator)),
                **self.teacher_options())
            losses = global_means(
                self.joint_losses(selected, output), len(selected))
        losses = prefixed('generator', self._update(losses, wrapper))
        self.counters.generator_steps += 1
        images_BCHW, target = selected.views_BCHW.detach(), output.detach()
        for _ in range(self.num_student_steps):
            step_losses = self.student_update(images_BCHW, target,
                                              optim_wrapper['student'])
        return losses | prefixed('student', step_losses)

    def teacher_options(self) -> dict[str, Any]:
        """What the teacher is asked beside its logits: keywords of
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

    def generator_losses(self, candidates: SyntheticBatch,
                         selected: SyntheticBatch) -> Losses:
        """See :meth:`BaseDFKD.generator_losses`."""
        return self.joint_losses(
            selected,
            self.teacher(selected.views_BCHW, **self.teacher_options()))
