"""What every data-free distillation algorithm shares."""
import logging
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor

from tadfkd.algorithms.building import build_bn_loss, build_logits_loss
from tadfkd.algorithms.candidates import CandidateSelection
from tadfkd.distributed.reductions import global_means, global_statistics
from tadfkd.errors import require_at_least
from tadfkd.memory import AveragedStatistics
from tadfkd.networks.freezing import frozen
from tadfkd.structures import BNStatistics, SyntheticBatch, TeacherOutput

Losses = dict[str, Tensor]


def prefixed(network: str, losses: Losses) -> Losses:
    """The losses of a step under the names that the log has."""
    return {f'{network}_{name}': value for name, value in losses.items()}


def summed(losses: Losses) -> Tensor:
    """What is minimised: the sum of all terms."""
    return torch.stack(list(losses.values())).sum()


def with_total(losses: Losses, total: Tensor) -> Losses:
    """The terms and their sum without graph, as a step returns them."""
    # Named "total" and not "loss": mmengine sums and smooths the latter.
    losses = losses | dict(total=total)
    return {name: value.detach() for name, value in losses.items()}


class BaseDFKD(CandidateSelection):
    """A student learns from a frozen teacher on generated images.

    There are three levels of override, from coarse to fine: ``train_step``
    (order and number of the two steps), ``generator_step`` and
    ``student_step`` (what one step does), and ``generator_losses`` and
    ``student_losses`` (the paper's equations), which most algorithms need
    only. Each step trains one network.

    Args:
        num_student_steps: Student steps an iteration, >= 1.
        num_generator_steps: Generator steps an iteration, >= 1; 0 only where
            there is no generator to train.
        student_first: Whether an iteration begins with its student steps.
        student_loss: Config of the student's loss on logits.
        bn_loss: Config of the batch-norm statistics loss, in the algorithms
            that have one; None leaves it out, and so does a teacher without
            batch norm.
        **selection: See :class:`CandidateSelection`.

    Raises:
        UserError: If a number is out of range, or the networks do not fit.
    """

    def __init__(self,
                 num_student_steps: int = 1,
                 num_generator_steps: int = 1,
                 student_first: bool = True,
                 student_loss: dict = dict(type='L1Loss'),
                 bn_loss: dict | None = None,
                 **selection: Any) -> None:
        super().__init__(**selection)
        require_at_least('model', 'num_student_steps', num_student_steps, 1)
        require_at_least('model', 'num_generator_steps', num_generator_steps,
                         int('generator' in self.trained_networks))
        self.num_student_steps = num_student_steps
        self.num_generator_steps = num_generator_steps
        self.student_first = student_first
        self.student_loss = build_logits_loss(self, 'student_loss',
                                              student_loss)
        self.bn_loss = build_bn_loss(bn_loss) if bn_loss else None
        if self.bn_loss is not None and self.teacher is not None \
                and not self.teacher.bn_layers:
            print_log(
                'the teacher has no batch norm with running statistics, so '
                'bn_loss is left out',
                logger='current',
                level=logging.WARNING)
            self.bn_loss = None

    def train_step(self, data: object,
                   optim_wrapper: OptimWrapperDict) -> Losses:
        """One iteration: the student steps and the generator steps.

        Args:
            data: Ignored; there is none.
            optim_wrapper: One wrapper each for ``student``, ``generator``.

        Returns:
            The losses of each network's last step, for the log.
        """
        losses = {}
        networks = ['student', 'generator']
        for network in networks if self.student_first else networks[::-1]:
            step_losses: Losses = {}
            for _ in range(getattr(self, f'num_{network}_steps')):
                step_losses = getattr(self, f'{network}_step')(
                    optim_wrapper[network])
            losses.update(prefixed(network, step_losses))
        return losses

    def student_step(self, optim_wrapper: OptimWrapper) -> Losses:
        """Train the student on one batch of images."""
        with optim_wrapper.optim_context(self.student):
            images_BCHW, target = self.student_batch()
        return self.student_update(images_BCHW, target, optim_wrapper)

    def student_batch(self) -> tuple[Tensor, TeacherOutput]:
        """images_BCHW of a student step and the teacher's answer to them,
        both without graph: a full batch of selected images."""
        batch, teacher_logits_BK = self.selected_batch()
        return batch.views_BCHW, TeacherOutput(teacher_logits_BK)

    def prefill_pool(self, images_BCHW: Tensor) -> None:
        """Let student steps have images that no step of this model made, for
        one that is tried out; only those need it that keep their images."""

    def student_update(self, images_BCHW: Tensor, target: TeacherOutput,
                       optim_wrapper: OptimWrapper) -> Losses:
        """Minimise :meth:`student_losses` on a batch."""
        with optim_wrapper.optim_context(self.student):
            losses = global_means(
                self.student_losses(images_BCHW, target), len(images_BCHW))
        self.counters.student_steps += 1
        return self._update(losses, optim_wrapper)

    def generator_step(self, optim_wrapper: OptimWrapper) -> Losses:
        """Train the generator on one batch; its selected part varies."""
        with frozen(self.student), optim_wrapper.optim_context(self.generator):
            candidates = self.augmented(
                self.generate(self.batch_size, self.generator))
            selected = self.select(candidates)
            losses = global_means(
                self.generator_losses(candidates, selected),
                len(selected)) | global_means(
                    self.candidate_losses(candidates), len(candidates))
        losses = self._update(losses, optim_wrapper)
        self.counters.generator_steps += 1
        return losses

    def student_losses(self, images_BCHW: Tensor,
                       target: TeacherOutput) -> Losses:
        """The terms whose sum the student minimises: ``student_loss``.

        Args:
            images_BCHW: What the student sees, without graph.
            target: The teacher's answer to the same images, likewise.
        """
        return dict(
            logits=self.student_loss(
                self.student_logits(images_BCHW), target.logits_BK))

    @abstractmethod
    def generator_losses(self, candidates: SyntheticBatch,
                         selected: SyntheticBatch) -> Losses:
        """The terms whose sum the generator minimises, but for
        :meth:`candidate_losses`.

        Args:
            candidates: All images of the step, with their graph.
            selected: Those that the selector kept, at least one; the terms
                are means over them.
        """

    def candidate_losses(self, candidates: SyntheticBatch) -> Losses:
        """The terms that are means over all candidates, selected or not."""
        return {}

    def _update(self, losses: Losses, optim_wrapper: OptimWrapper) -> Losses:
        total = summed(losses)
        optim_wrapper.update_params(total)
        return with_total(losses, total)

    def bn_terms(self,
                 statistics: Sequence[BNStatistics] | None,
                 count: int,
                 past: AveragedStatistics | None = None) -> Losses:
        """The batch-norm term, where there is one and the teacher has any
        statistics.

        Args:
            statistics: Of a forward of the teacher.
            count: Samples in that forward.
            past: What they are averaged with.
        """
        if not statistics or self.bn_loss is None:
            return {}
        statistics = global_statistics(statistics, count)
        if past is not None:
            statistics = past.average(statistics)
        return dict(bn=self.bn_loss(statistics))
