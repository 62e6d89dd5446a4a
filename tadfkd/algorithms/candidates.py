"""Where the images of a step come from, and which of them are used."""
from dataclasses import replace
from typing import Any, Literal

import torch
from mmengine.dist import get_world_size
from torch import Tensor, nn

from tadfkd.algorithms.building import build_augmentation, build_part
from tadfkd.algorithms.networks import DistillationNetworks
from tadfkd.distributed.wrapper import unwrapped
from tadfkd.errors import UserError, require_at_least
from tadfkd.generators import BaseGenerator
from tadfkd.memory import SelectedQueue
from tadfkd.registry import SELECTORS
from tadfkd.selectors import BaseSelector
from tadfkd.structures import Counters, SyntheticBatch, TeacherOutput


class CandidateSelection(DistillationNetworks):
    """Generates images, augments them, and keeps what the selector keeps.

    Args:
        batch_size: Images a step and process, >= 2.
        selector: Config of a selector.
        augment: Config of an augmentation, or None.
        select_on: Whether the selector judges the ``'plain'`` images, or the
            ``'augmented'`` ones, which saves a pass through the teacher.
        max_rounds: Batches of candidates that one student step may generate
            until it has a full batch of selected images, >= 1.
        **networks: See :class:`DistillationNetworks`.

    Raises:
        UserError: If a number is out of range, or the networks do not fit.
    """

    def __init__(self,
                 batch_size: int,
                 selector: dict = dict(type='SelectAll'),
                 augment: dict | None = None,
                 select_on: Literal['plain', 'augmented'] = 'plain',
                 max_rounds: int = 50,
                 **networks: Any) -> None:
        super().__init__(**networks)
        # Student steps train batch norm, which one sample cannot.
        require_at_least('model', 'batch_size', batch_size, 2)
        require_at_least('model', 'max_rounds', max_rounds, 1)
        if select_on not in ('plain', 'augmented'):
            raise UserError("select_on must be 'plain' or 'augmented', got "
                            f'{select_on!r}: set model.select_on')
        self.batch_size = batch_size
        self.select_on = select_on
        self.max_rounds = max_rounds
        self.selector = build_part('selector', selector, BaseSelector,
                                   SELECTORS)
        self.augment = build_augmentation(self, 'augment', augment)
        self.queue = SelectedQueue()
        self.counters = Counters()

    def generate(self, size: int, generator: nn.Module) -> SyntheticBatch:
        """A batch of fresh images from the training stream of latents.

        Args:
            size: Number of images.
            generator: ``self.generator``, or the network in its wrapper
                where no gradients are exchanged between processes.
        """
        latents_BZ = self.sample_latents(
            size, self.streams.get('latents', self.device))
        labels_B = None
        if unwrapped(generator).num_classes is not None:
            labels_B = self.sample_labels(
                size, self.streams.get('labels', self.device))
        self.counters.images_generated += size
        return SyntheticBatch(generator(latents_BZ, labels_B), labels_B)

    def augmented(self, batch: SyntheticBatch) -> SyntheticBatch:
        """The batch with an augmented view, if there is an augmentation."""
        if self.augment is None:
            return batch
        stream = self.streams.get('augmentation', batch.images_BCHW.device)
        return replace(
            batch, augmented_BCHW=self.augment(batch.images_BCHW, stream))

    def select(self, candidates: SyntheticBatch) -> SyntheticBatch:
        """The candidates that the selector keeps, with their graph; all of
        them if the teacher's logits are finite for none."""
        if not self.selector.reads_teacher:
            self.counters.images_selected += len(candidates)
            return candidates
        judged_BCHW = candidates.images_BCHW if self.select_on == 'plain' \
            else candidates.views_BCHW
        with torch.no_grad():
            output = self.teacher(judged_BCHW)
        return self._keep(candidates, output)[0]

    def select_and_ask(self, candidates: SyntheticBatch,
                       **asked: Any) -> tuple[SyntheticBatch, TeacherOutput]:
        """Select on the view that enters the losses, in the very pass of
        the teacher that the losses use.

        Args:
            candidates: With their graph.
            **asked: What else the teacher is to answer; no statistics of the
                batch, as those are of all candidates.

        Returns:
            The candidates that are kept, and the teacher's answer to them,
            both with their graph.
        """
        output = self.teacher(candidates.views_BCHW, **asked)
        if not self.selector.reads_teacher:
            self.counters.images_selected += len(candidates)
            return candidates, output
        return self._keep(candidates, output)

    def _keep(self, candidates: SyntheticBatch,
              output: TeacherOutput) -> tuple[SyntheticBatch, TeacherOutput]:
        mask_B = self.selector.select(output, candidates.labels_B)
        # The indices once, instead of once a field: on a GPU each boolean
        # look-up waits for the device.
        indices_M = mask_B.nonzero().squeeze(1)
        self.counters.images_selected += len(indices_M)
        if len(indices_M) == 0:
            # No answer is finite, so the step will not be, and is skipped.
            indices_M = torch.arange(len(candidates), device=mask_B.device)
        answers = output.take(indices_M)
        selected = replace(
            candidates.take(indices_M),
            teacher_logits_BK=answers.logits_BK.detach())
        return selected, answers

    @torch.no_grad()
    def selected_batch(
            self,
            generator: BaseGenerator | None = None,
            queue: SelectedQueue | None = None
    ) -> tuple[SyntheticBatch, Tensor]:
        """A full batch of selected images and the teacher's logits for it.

        What is left over waits for the next call. Each candidate passes the
        teacher once for the selection, and a second time only if the losses
        see another view of it. In a distributed run a full batch is
        ``batch_size`` images a process on average: each learns from those
        that it made, and has as many rounds as the others.

        Args:
            generator: In place of the algorithm's.
            queue: Where that generator's left over images wait.

        Returns:
            The batch and teacher_logits_BK of its views, both detached.

        Raises:
            UserError: If ``max_rounds`` batches did not suffice.
        """
        changes_view = self.augment is not None and self.select_on == 'plain'
        if generator is None:
            generator = unwrapped(self.generator)
        if queue is None:
            queue = self.queue
        size = self.batch_size * get_world_size()
        if self.counters.updates['student'].skipped_in_a_row > 0:
            # What waits was made with what could not be learned from.
            queue.clear()
        for round_ in range(self.max_rounds + 1):
            if len(queue) >= size:
                break
            if round_ == self.max_rounds:
                raise UserError(
                    f'after {self.max_rounds} rounds of {size} '
                    f'candidates only {len(queue)} of '
                    f'{size} images were selected: raise '
                    'model.max_rounds, or use a more lenient model.selector')
            batch = self.generate(self.batch_size, generator)
            if not changes_view:
                batch = self.augmented(batch)
            batch = self.select(batch)
            queue.add(
                SyntheticBatch(
                    batch.views_BCHW,
                    labels_B=batch.labels_B,
                    teacher_logits_BK=None
                    if changes_view else batch.teacher_logits_BK),
                equal=not self.selector.reads_teacher)
        batch = queue.take(size)
        if changes_view:
            batch = self.augmented(batch)
        if batch.teacher_logits_BK is not None:
            return batch, batch.teacher_logits_BK
        return batch, self.teacher(batch.views_BCHW).logits_BK

    def training_state(self) -> dict:
        """What exact continuation needs beside weights and optimisers."""
        return dict(
            counters=self.counters.state_dict(),
            seed=self.streams.seed,
            branch=self.streams.branch,
            streams=self.streams.state_dict(),
            queue=self.queue.state_dict())

    def load_training_state(self, state: dict) -> None:
        """Go on from where :meth:`training_state` was called."""
        self.counters.load_state_dict(state['counters'])
        # Of streams from which nothing was drawn; older checkpoints have none.
        self.streams.seed = state.get('seed', self.streams.seed)
        self.streams.branch = state.get('branch', '')
        self.streams.load_state_dict(state['streams'])
        self.queue.load_state_dict(state['queue'], self.device)
