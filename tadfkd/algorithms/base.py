"""What every data-free distillation algorithm shares."""
from abc import abstractmethod
from dataclasses import asdict, replace
from typing import Any, Literal

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn

from tadfkd.algorithms.networks import DistillationNetworks
from tadfkd.memory import CleanQueue
from tadfkd.registry import MODELS, SELECTORS
from tadfkd.structures import Counters, SyntheticBatch
from tadfkd.utils.errors import UserError, require_at_least
from tadfkd.utils.freezing import frozen
from tadfkd.utils.wrappers import unwrapped

Losses = dict[str, Tensor]


class BaseDFKD(DistillationNetworks):
    """A student learns from a frozen teacher on generated images.

    There are three levels of override, from coarse to fine: ``train_step``
    (order and number of the two steps), ``generator_step`` and
    ``student_step`` (what one step does), and ``generator_losses`` and
    ``student_losses`` (the paper's equations), which most algorithms need
    only. Each step trains one network.

    Args:
        batch_size: Images a step and process, >= 2.
        num_student_steps: Student steps an iteration, >= 1.
        num_generator_steps: Generator steps an iteration, >= 1.
        student_first: Whether an iteration begins with its student steps.
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
                 num_student_steps: int = 1,
                 num_generator_steps: int = 1,
                 student_first: bool = True,
                 selector: dict = dict(type='SelectAll'),
                 augment: dict | None = None,
                 select_on: Literal['plain', 'augmented'] = 'plain',
                 max_rounds: int = 50,
                 **networks: Any) -> None:
        super().__init__(**networks)
        # Student steps train batch norm, which one sample cannot.
        require_at_least('model', 'batch_size', batch_size, 2)
        for name, value in dict(
                num_student_steps=num_student_steps,
                num_generator_steps=num_generator_steps,
                max_rounds=max_rounds).items():
            require_at_least('model', name, value, 1)
        if select_on not in ('plain', 'augmented'):
            raise UserError("select_on must be 'plain' or 'augmented', got "
                            f'{select_on!r}: set model.select_on')
        self.batch_size = batch_size
        self.num_student_steps = num_student_steps
        self.num_generator_steps = num_generator_steps
        self.student_first = student_first
        self.select_on = select_on
        self.max_rounds = max_rounds

        self.selector = SELECTORS.build(selector)
        self.augment = MODELS.build(augment) if augment else None
        self.queue = CleanQueue()
        self.counters = Counters()

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
            count = getattr(self, f'num_{network}_steps')
            step = getattr(self, f'{network}_step')
            for _ in range(count):
                step_losses = step(optim_wrapper[network])
            losses.update({
                f'{network}_{name}': value
                for name, value in step_losses.items()
            })
        return losses

    def student_step(self, optim_wrapper: OptimWrapper) -> Losses:
        """Train the student on one full batch of selected images."""
        with optim_wrapper.optim_context(self.student):
            batch, teacher_logits_BK = self.clean_batch()
            student_logits_BK = self.student_logits(batch.views_BCHW)
            losses = self.student_losses(student_logits_BK, teacher_logits_BK)
        losses = self._update(losses, optim_wrapper)
        self.counters.student_steps += 1
        return losses

    def generator_step(self, optim_wrapper: OptimWrapper) -> Losses:
        """Train the generator on one batch; its selected part varies."""
        with frozen(self.student), optim_wrapper.optim_context(self.generator):
            candidates = self.augmented(
                self.generate(self.batch_size, self.generator))
            selected = self.select(candidates)
            losses = self.generator_losses(candidates, selected)
        losses = self._update(losses, optim_wrapper)
        self.counters.generator_steps += 1
        return losses

    @abstractmethod
    def student_losses(self, student_logits_BK: Tensor,
                       teacher_logits_BK: Tensor) -> Losses:
        """The terms whose sum the student minimises.

        Args:
            student_logits_BK: With their graph.
            teacher_logits_BK: For the same images, detached.
        """

    @abstractmethod
    def generator_losses(self, candidates: SyntheticBatch,
                         selected: SyntheticBatch) -> Losses:
        """The terms whose sum the generator minimises.

        Args:
            candidates: All images of the step, with their graph.
            selected: Those that the selector kept, at least one.
        """

    def _update(self, losses: Losses, optim_wrapper: OptimWrapper) -> Losses:
        total = torch.stack(list(losses.values())).sum()
        optim_wrapper.update_params(total)
        # Named "total" and not "loss": mmengine sums and smooths the latter.
        losses = {name: value.detach() for name, value in losses.items()}
        return losses | {'total': total.detach()}

    def generate(self, size: int, generator: nn.Module) -> SyntheticBatch:
        """A batch of fresh images from the training stream of latents.

        Args:
            size: Number of images.
            generator: ``self.generator``, or the network in its wrapper
                where no gradients are exchanged between processes.
        """
        latents_BZ = self.sample_latents(
            size, self.streams.get('latents', self.device))
        self.counters.images_generated += size
        return SyntheticBatch(generator(latents_BZ))

    def augmented(self, batch: SyntheticBatch) -> SyntheticBatch:
        """The batch with an augmented view, if there is an augmentation."""
        if self.augment is None:
            return batch
        stream = self.streams.get('augmentation', batch.images_BCHW.device)
        return replace(
            batch, augmented_BCHW=self.augment(batch.images_BCHW, stream))

    def select(self, candidates: SyntheticBatch) -> SyntheticBatch:
        """The candidates that the selector keeps, with their graph.

        Raises:
            UserError: If the teacher's logits are finite for none.
        """
        if not self.selector.reads_teacher:
            self.counters.images_selected += len(candidates)
            return candidates
        judged_BCHW = candidates.images_BCHW if self.select_on == 'plain' \
            else candidates.views_BCHW
        with torch.no_grad():
            output = self.teacher(judged_BCHW)
            mask_B = self.selector.select(output, candidates.labels_B)
        selected = replace(
            candidates, teacher_logits_BK=output.logits_BK).select(mask_B)
        self.counters.images_selected += len(selected)
        if len(selected) == 0:
            raise UserError(
                'the teacher gave finite logits for none of '
                f'{len(candidates)} generated images: check the teacher, or '
                'lower the learning rates, as the run may have diverged')
        return selected

    @torch.no_grad()
    def clean_batch(self) -> tuple[SyntheticBatch, Tensor]:
        """A full batch of selected images and the teacher's logits for it.

        What is left over waits for the next call. Each candidate passes the
        teacher once for the selection, and a second time only if the losses
        see another view of it.

        Returns:
            The batch and teacher_logits_BK of its views, both detached.

        Raises:
            UserError: If ``max_rounds`` batches did not suffice.
        """
        changes_view = self.augment is not None and self.select_on == 'plain'
        generator = unwrapped(self.generator)
        for round_ in range(self.max_rounds + 1):
            if len(self.queue) >= self.batch_size:
                break
            if round_ == self.max_rounds:
                raise UserError(
                    f'after {self.max_rounds} rounds of {self.batch_size} '
                    f'candidates only {len(self.queue)} of '
                    f'{self.batch_size} images were selected: raise '
                    'model.max_rounds, or use a more lenient model.selector')
            batch = self.generate(self.batch_size, generator)
            if not changes_view:
                batch = self.augmented(batch)
            batch = self.select(batch)
            self.queue.add(
                SyntheticBatch(
                    batch.views_BCHW,
                    labels_B=batch.labels_B,
                    teacher_logits_BK=None
                    if changes_view else batch.teacher_logits_BK))
        batch = self.queue.take(self.batch_size)
        if changes_view:
            batch = self.augmented(batch)
        if batch.teacher_logits_BK is not None:
            return batch, batch.teacher_logits_BK
        return batch, self.teacher(batch.views_BCHW).logits_BK

    def training_state(self) -> dict:
        """What exact continuation needs beside weights and optimisers."""
        return dict(
            counters=asdict(self.counters),
            streams=self.streams.state_dict(),
            queue=self.queue.state_dict())

    def load_training_state(self, state: dict) -> None:
        """Go on from where :meth:`training_state` was called."""
        self.counters = Counters(**state['counters'])
        self.streams.load_state_dict(state['streams'])
        self.queue.load_state_dict(state['queue'])
