"""Where the images of a step come from, and which of them are used."""
from dataclasses import replace
from typing import Any, Literal

import torch
from mmengine.dist import get_world_size
from torch import Tensor, nn

from tadfkd.errors import UserError
from tadfkd.generators import BaseGenerator
from tadfkd.memory import SelectedQueue
from tadfkd.networks.freezing import frozen
from tadfkd.selectors import BaseSelector
from tadfkd.structures import Counters, SyntheticBatch, TeacherOutput
from tadfkd.teachers import BaseTeacher
from tadfkd.utils.randomness import RandomStreams


class CandidateSource:
    """Generates images, augments them, and keeps those that are selected.

    Args:
        generator: Makes the images.
        teacher: Its answers are what the selector judges. A model without
            teacher, for evaluation, only makes held-out images.
        num_classes: K; labels are drawn from 0 to K - 1.
        selector: Decides which images are used.
        augment: Maps images_BCHW and a random generator to an augmented view
            of the same shape; or None.
        streams: Where latents, labels and augmentations are drawn.
        counters: Count generated and selected images.
        select_on: Whether the selector judges the ``'plain'`` images, or the
            ``'augmented'`` ones, which saves a forward of the teacher.
        max_rounds: Batches of candidates that :meth:`selected_batch` may
            generate, >= 1.
    """

    def __init__(self,
                 generator: BaseGenerator,
                 teacher: BaseTeacher,
                 num_classes: int,
                 selector: BaseSelector,
                 augment: Any,
                 streams: RandomStreams,
                 counters: Counters,
                 select_on: Literal['plain', 'augmented'] = 'plain',
                 max_rounds: int = 50) -> None:
        self.generator = generator
        self.teacher = teacher
        self.num_classes = num_classes
        self.selector = selector
        self.augment = augment
        self.streams = streams
        self.counters = counters
        self.select_on = select_on
        self.max_rounds = max_rounds
        self.queue = SelectedQueue()

    @property
    def device(self) -> torch.device:
        """The device of the teacher, on which images are made."""
        return self.teacher.input_adapter.mean.device

    def latents(self,
                size: int,
                stream: torch.Generator | None = None) -> Tensor:
        """latents_BZ from N(0, 1); of training, unless a stream is given."""
        if stream is None:
            stream = self.streams.get('latents', self.device)
        return torch.randn(
            size,
            self.generator.latent_size,
            generator=stream,
            device=stream.device)

    def labels(self,
               size: int,
               stream: torch.Generator | None = None) -> Tensor:
        """labels_B, uniform over the classes; of training, unless a stream is
        given."""
        if stream is None:
            stream = self.streams.get('labels', self.device)
        return torch.randint(
            self.num_classes, (size, ), generator=stream, device=stream.device)

    def labels_in_turn(self, size: int) -> Tensor:
        """labels_B of training, every class in turn, as often as all classes
        fit; the rest are random."""
        in_turn = size - size % self.num_classes
        return torch.cat(
            (torch.arange(in_turn, device=self.device) % self.num_classes,
             self.labels(size - in_turn)))

    def fresh(self,
              size: int,
              generator: nn.Module | None = None) -> SyntheticBatch:
        """Newly generated images, with their graph.

        Args:
            size: Number of images.
            generator: The generator in its distributed wrapper, for a step
                that trains it.
        """
        return self.made_from(*self.inputs(size), generator)

    def inputs(
            self,
            size: int,
            stream: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """latents_BZ and, for a conditional generator, labels_B; of training,
        unless a stream is given."""
        latents_BZ = self.latents(size, stream)
        if self.generator.num_classes is None:
            return latents_BZ, None
        return latents_BZ, self.labels(size, stream)

    def made_from(self,
                  latents_BZ: Tensor,
                  labels_B: Tensor | None,
                  generator: nn.Module | None = None) -> SyntheticBatch:
        """The generator's images of given latents, with their graph.

        Args:
            latents_BZ: See :meth:`inputs`.
            labels_B: See :meth:`inputs`.
            generator: See :meth:`fresh`.
        """
        self.counters.images_generated += len(latents_BZ)
        network = self.generator if generator is None else generator
        return SyntheticBatch(network(latents_BZ, labels_B), labels_B)

    def augmented(self, batch: SyntheticBatch) -> SyntheticBatch:
        """The batch with an augmented view, if there is an augmentation."""
        if self.augment is None:
            return batch
        stream = self.streams.get('augmentation', batch.images_BCHW.device)
        return replace(
            batch, augmented_BCHW=self.augment(batch.images_BCHW, stream))

    def select(self, candidates: SyntheticBatch) -> SyntheticBatch:
        """The candidates that the selector keeps, with their graph. If no
        candidate has finite logits, all are kept."""
        if not self.selector.reads_teacher:
            self.counters.images_selected += len(candidates)
            return candidates
        judged_BCHW = candidates.images_BCHW if self.select_on == 'plain' \
            else candidates.views_BCHW
        with torch.no_grad():
            output = self.teacher(judged_BCHW)
        return self._keep(candidates, output)[0]

    def select_with_output(
            self, candidates: SyntheticBatch,
            **teacher_options: Any) -> tuple[SyntheticBatch, TeacherOutput]:
        """Select by the same forward of the teacher that the losses use.

        Args:
            candidates: With their graph.
            **teacher_options: Keywords of the teacher's forward, except
                ``with_bn``: statistics would be those of all candidates.

        Returns:
            The selected candidates and the teacher's answer to their views,
            both with their graph.
        """
        output = self.teacher(candidates.views_BCHW, **teacher_options)
        if not self.selector.reads_teacher:
            self.counters.images_selected += len(candidates)
            return candidates, output
        return self._keep(candidates, output)

    def _keep(self, candidates: SyntheticBatch,
              output: TeacherOutput) -> tuple[SyntheticBatch, TeacherOutput]:
        mask_B = self.selector.select(output, candidates.labels_B)
        # On a GPU each boolean look-up waits for the device, so the mask
        # becomes indices once.
        indices_M = mask_B.nonzero().squeeze(1)
        self.counters.images_selected += len(indices_M)
        if len(indices_M) == 0:
            # No logits are finite, so the step is skipped in any case.
            indices_M = torch.arange(len(candidates), device=mask_B.device)
        kept_output = output.take(indices_M)
        selected = replace(
            candidates.take(indices_M),
            teacher_logits_BK=kept_output.logits_BK.detach())
        return selected, kept_output

    @torch.no_grad()
    def selected_batch(self, size: int) -> tuple[SyntheticBatch, Tensor]:
        """A full batch of selected images and the teacher's logits for it.

        Leftovers stay in the queue for the next call. The teacher sees each
        candidate once for the selection, and a second time only if the losses
        use another view of it. In a distributed run the batch has ``size``
        images per process on average; each process takes its own images.

        Args:
            size: Images per process. Each round generates as many.

        Returns:
            The batch and teacher_logits_BK of its views, without graph.

        Raises:
            UserError: If ``max_rounds`` rounds did not suffice.
        """
        changes_view = self.augment is not None and self.select_on == 'plain'
        wanted = size * get_world_size()
        if self.counters.updates['student'].skipped_in_a_row > 0:
            # The student's last step was skipped as non-finite, and the
            # queued images come from the same batches.
            self.queue.clear()
        for round_ in range(self.max_rounds + 1):
            if len(self.queue) >= wanted:
                break
            if round_ == self.max_rounds:
                raise UserError(
                    f'after {self.max_rounds} rounds of {wanted} '
                    f'candidates only {len(self.queue)} of '
                    f'{wanted} images were selected: raise '
                    'model.max_rounds, or use a more lenient model.selector')
            batch = self.fresh(size)
            if not changes_view:
                batch = self.augmented(batch)
            batch = self.select(batch)
            self.queue.add(
                SyntheticBatch(
                    batch.views_BCHW,
                    labels_B=batch.labels_B,
                    teacher_logits_BK=None
                    if changes_view else batch.teacher_logits_BK),
                equal=not self.selector.reads_teacher)
        batch = self.queue.take(wanted)
        if changes_view:
            batch = self.augmented(batch)
        if batch.teacher_logits_BK is not None:
            return batch, batch.teacher_logits_BK
        return batch, self.teacher(batch.views_BCHW).logits_BK

    @torch.no_grad()
    def held_out(self, size: int, stream: torch.Generator) -> Tensor:
        """images_BCHW from latents that training never draws, without graph.

        Args:
            size: Number of images.
            stream: On the device of the generator.
        """
        with frozen(self.generator):
            return self.render(self.generator, size, stream)

    def render(self, generator: BaseGenerator, size: int,
               stream: torch.Generator) -> Tensor:
        """images_BCHW of a generator, with latents and labels of one stream.

        Args:
            generator: The source's own, or a copy of it.
            size: Number of images.
            stream: Where latents and, for a conditional generator, labels are
                drawn.
        """
        return generator(*self.inputs(size, stream))
