"""Student steps on selected images, then generator steps, in turn."""
from abc import abstractmethod
from typing import Any, Literal

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor

from tadfkd.algorithms.base import BaseDFKD, Losses, prefixed
from tadfkd.errors import require_at_least, require_choice
from tadfkd.structures import SyntheticBatch, TeacherOutput


class AlternatingDFKD(BaseDFKD):
    """An iteration is some student steps, then some generator steps.

    A student step trains on a full batch of newly selected images. A
    generator step trains on the selected part of one batch, so the number of
    its samples varies.

    Args:
        num_student_steps: Student steps per iteration, >= 1.
        num_generator_steps: Generator steps per iteration, >= 1.
        select_on: Whether the selector judges the ``'plain'`` images, or the
            ``'augmented'`` ones, which saves a forward of the teacher.
        max_rounds: Batches of candidates that one student step may generate
            until it has a full batch of selected images, >= 1.
        **base: See :class:`~tadfkd.algorithms.base.BaseDFKD`.

    Raises:
        UserError: If a number is out of range, or the networks do not fit.
    """

    takes_procedural = True

    def __init__(self,
                 num_student_steps: int = 1,
                 num_generator_steps: int = 1,
                 select_on: Literal['plain', 'augmented'] = 'plain',
                 max_rounds: int = 50,
                 **base: Any) -> None:
        super().__init__(**base)
        require_at_least('model', 'num_student_steps', num_student_steps, 1)
        require_at_least('model', 'num_generator_steps', num_generator_steps,
                         1)
        require_at_least('model', 'max_rounds', max_rounds, 1)
        require_choice('model', 'select_on', select_on, ('plain', 'augmented'))
        self.num_student_steps = num_student_steps
        self.num_generator_steps = num_generator_steps
        self.candidates.select_on = select_on
        self.candidates.max_rounds = max_rounds

    def train_step(self, data: object,
                   optim_wrapper: OptimWrapperDict) -> Losses:
        """See :meth:`BaseDFKD.train_step`."""
        for _ in range(self.num_student_steps):
            student_losses = self.student_step(optim_wrapper['student'])
        for _ in range(self.num_generator_steps):
            generator_losses = self.generator_step(optim_wrapper['generator'])
        return prefixed('student', student_losses) | prefixed(
            'generator', generator_losses)

    def student_step(self, wrapper: OptimWrapper) -> Losses:
        """Train the student on one batch of images."""
        with self.train_only('student', wrapper):
            images_BCHW, target = self.student_batch()
            losses = self.student_losses(images_BCHW, target)
        return self.update('student', wrapper, (losses, len(images_BCHW)))

    def student_batch(self) -> tuple[Tensor, TeacherOutput]:
        """images_BCHW of a student step and the teacher's answer to them,
        both without graph: a full batch of selected images, or with a share
        of procedural ones."""
        count = self.num_procedural(self.batch_size)
        if count == 0:
            batch, logits_BK = self.candidates.selected_batch(self.batch_size)
            return batch.views_BCHW, TeacherOutput(logits_BK)
        drawn_BCHW = self.candidates.augmented(
            SyntheticBatch(self.procedural_images(count))).views_BCHW
        drawn_BK = self.teacher_logits(drawn_BCHW)
        if count == self.batch_size:
            return drawn_BCHW, TeacherOutput(drawn_BK)
        batch, logits_BK = self.candidates.selected_batch(self.batch_size -
                                                          count)
        return torch.cat((drawn_BCHW, batch.views_BCHW)), TeacherOutput(
            torch.cat((drawn_BK, logits_BK)))

    def generator_step(self, wrapper: OptimWrapper) -> Losses:
        """Train the generator on the selected part of one batch."""
        source = self.candidates
        with self.train_only('generator', wrapper):
            candidates = source.augmented(
                source.fresh(self.batch_size, self.generator))
            selected = source.select(candidates)
            self.calibrate(self._losses_of)
            losses = self.weighted(self.generator_losses(selected))
            candidate_losses = self.weighted(self.candidate_losses(candidates))
        return self.update('generator', wrapper, (losses, len(selected)),
                           (candidate_losses, len(candidates)))

    def _losses_of(self, images_BCHW: Tensor) -> Losses:
        labels_B = None if self.generator.num_classes is None \
            else self.candidates.labels(len(images_BCHW))
        batch = SyntheticBatch(images_BCHW, labels_B)
        return self.generator_losses(batch) | self.candidate_losses(batch)

    @abstractmethod
    def generator_losses(self, selected: SyntheticBatch) -> Losses:
        """The terms that the generator minimises, as means over the selected
        images.

        Args:
            selected: At least one image, with its graph.
        """

    def candidate_losses(self, candidates: SyntheticBatch) -> Losses:
        """The terms that are means over all candidates, selected or not.

        Args:
            candidates: All images of the step, with their graph.
        """
        return {}
