"""What the algorithms share that invert the teacher batch by batch."""
from dataclasses import replace
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn

from tadfkd.algorithms.base import BaseDFKD, Losses, prefixed
from tadfkd.algorithms.building import (build_augmentation, build_logits_loss,
                                        build_loss)
from tadfkd.distributed.reductions import global_means
from tadfkd.distributed.wrapper import unwrapped
from tadfkd.errors import UserError, require_at_least
from tadfkd.memory import AveragedStatistics, BestImages, ImagePool
from tadfkd.networks.freezing import frozen
from tadfkd.networks.reinitialize import reinitialize
from tadfkd.structures import SyntheticBatch, TeacherOutput
from tadfkd.utils.finite import step_if_finite

#: Of Adam within a synthesis.
SYNTHESIS_BETAS = (0.5, 0.999)


class InversionDFKD(BaseDFKD):
    """A batch is optimised for many steps, and its images are kept.

    An iteration is one synthesis, of ``num_generator_steps`` steps on one
    batch of labels y and latents, and then the student's steps on images
    drawn from the pool of all syntheses. A synthesis minimises::

        CE(T(x), y) + BN(x) - d(S(x), T(x)) + further losses

    each with its weight, and what it made at its lowest loss goes into the
    pool, as far as the selector keeps it. ``student_first``, ``select_on`` and
    ``max_rounds`` are not read: nothing is selected within a step.

    Args:
        pool: Arguments of an :class:`~tadfkd.memory.ImagePool`.
        one_hot_loss: Config of the cross-entropy.
        bn_loss: See :class:`BaseDFKD`.
        bn_momentum: See :class:`~tadfkd.memory.AveragedStatistics`; the past
            are the syntheses before.
        adversarial_loss: Config of the divergence d that is widened, or None
            to leave the student out.
        synthesis_batch_size: Images a synthesis, >= 2; None takes
            ``batch_size``.
        synthesis_augment: Config of an augmentation of what the losses of a
            synthesis see, or None.
        latent_lr: Rate of Adam (betas 0.5 and 0.999) on the latents, >= 0; 0
            leaves them as they were drawn.
        warmup_iterations: Iterations at the start that only fill the pool,
            without the student, >= 0.
        student_loss: See :class:`BaseDFKD`.
        **base: Everything else of :class:`BaseDFKD`.
    """

    #: Whether ``extra_losses`` read the teacher's penultimate features.
    reads_features = False
    #: Whether the student reads no more of the teacher than its logits.
    student_reads_logits = True

    def __init__(self,
                 pool: dict,
                 one_hot_loss: dict = dict(type='OneHotLoss'),
                 bn_loss: dict = dict(type='BNStatisticsLoss'),
                 bn_momentum: float = 0.0,
                 adversarial_loss: dict | None = None,
                 synthesis_batch_size: int | None = None,
                 synthesis_augment: dict | None = None,
                 latent_lr: float = 1e-3,
                 warmup_iterations: int = 0,
                 student_loss: dict = dict(type='KLLoss', temperature=20.0),
                 **base: Any) -> None:
        super().__init__(student_loss=student_loss, bn_loss=bn_loss, **base)
        if synthesis_batch_size is None:
            synthesis_batch_size = self.batch_size
        require_at_least('model', 'synthesis_batch_size', synthesis_batch_size,
                         2)
        require_at_least('model', 'latent_lr', latent_lr, 0.0)
        require_at_least('model', 'warmup_iterations', warmup_iterations, 0)
        stay = self.augment is None and self.student_reads_logits
        answer = self.teacher_logits if stay else None
        self.pool = ImagePool.from_config(pool, answer)
        self.one_hot_loss = build_loss('one_hot_loss', one_hot_loss,
                                       torch.zeros(2, self.num_classes),
                                       torch.zeros(2).long())
        self.past_statistics = AveragedStatistics(bn_momentum)
        self.adversarial_loss = build_logits_loss(
            self, 'adversarial_loss',
            adversarial_loss) if adversarial_loss else None
        self.synthesis_batch_size = synthesis_batch_size
        self.synthesis_augment = build_augmentation(self, 'synthesis_augment',
                                                    synthesis_augment)
        self.latent_lr = latent_lr
        self.warmup_iterations = warmup_iterations
        self.iterations = 0

    @property
    def warming_up(self) -> bool:
        """Whether the student does not take part yet."""
        return self.iterations < self.warmup_iterations

    def train_step(self, data: object,
                   optim_wrapper: OptimWrapperDict) -> Losses:
        """One synthesis, then the student's steps on the pool."""
        with frozen(self.student):
            losses = prefixed('generator', self.synthesis(optim_wrapper))
        if not self.warming_up:
            for _ in range(self.num_student_steps):
                step_losses = self.student_step(optim_wrapper['student'])
            losses |= prefixed('student', step_losses)
        self.iterations += 1
        return losses

    def synthesis(self, optim_wrapper: OptimWrapperDict) -> Losses:
        """Invert one batch into the pool; the losses are the last step's."""
        size = self.synthesis_batch_size
        latents_BZ = self.sample_latents(
            size, self.streams.get('latents', self.device)).requires_grad_()
        if get_world_size() > 1:
            # The gradient of a sample in a mean over those of all processes.
            latents_BZ.register_hook(
                lambda gradient: gradient / get_world_size())
        labels_B = self.sample_labels(size,
                                      self.streams.get('labels', self.device))
        self.begin_synthesis(optim_wrapper['generator'])
        images_BCHW, losses = self.invert(latents_BZ, labels_B, optim_wrapper)
        self.counters.images_generated += size
        made = SyntheticBatch(images_BCHW, labels_B)
        self.pool.add(self.select(made).images_BCHW)
        self.past_statistics.advance()
        self.end_synthesis(made, latents_BZ.detach())
        return losses

    def begin_synthesis(self, wrapper: OptimWrapper) -> None:
        """Make generator and optimiser ready for another batch."""

    def reinitialize(self, module: nn.Module) -> None:
        """Begin a part of the generator anew, alike in all processes."""
        reinitialize(module, self.streams.get('generator', shared=True))

    def end_synthesis(self, made: SyntheticBatch, latents_BZ: Tensor) -> None:
        """Remember what the next ones or the student need of what was made
        at the lowest loss, and of the latents at the end."""

    def invert(self, latents_BZ: Tensor, labels_B: Tensor,
               optim_wrapper: OptimWrapperDict) -> tuple[Tensor, Losses]:
        """Train generator and latents on one batch.

        Returns:
            The images at the lowest loss, and the losses of the last step.
        """
        wrapper = optim_wrapper['generator']
        optimizer = torch.optim.Adam([latents_BZ], self.latent_lr,
                                     SYNTHESIS_BETAS)
        best = BestImages()
        for _ in range(self.num_generator_steps):
            with wrapper.optim_context(self.generator):
                images_BCHW = self.generator(latents_BZ, labels_B)
                losses = global_means(
                    self.inversion_losses(images_BCHW, labels_B),
                    len(images_BCHW))
            optimizer.zero_grad()
            losses = self._update(losses, wrapper)
            step_if_finite(optimizer, losses['total'])
            best.offer(images_BCHW, losses['total'])
            self.step_auxiliary(optim_wrapper, losses['total'])
            self.counters.generator_steps += 1
        return best.images_BCHW, losses

    def step_auxiliary(self, optim_wrapper: OptimWrapperDict,
                       loss: Tensor) -> None:
        """Step what else learns in a synthesis; it has its gradients of
        ``loss``."""

    def inversion_losses(self, images_BCHW: Tensor,
                         labels_B: Tensor) -> Losses:
        """``generator_losses`` of the view that a synthesis looks at."""
        batch = SyntheticBatch(images_BCHW, labels_B)
        if self.synthesis_augment is not None:
            stream = self.streams.get('synthesis_augmentation', self.device)
            batch = replace(
                batch,
                augmented_BCHW=self.synthesis_augment(images_BCHW, stream))
        return self.generator_losses(batch, batch)

    def generator_losses(self, candidates: SyntheticBatch,
                         selected: SyntheticBatch) -> Losses:
        """All terms, on the candidates' views."""
        views_BCHW = candidates.views_BCHW
        output = self.teacher(
            views_BCHW,
            with_bn=self.bn_loss is not None,
            with_features=self.reads_features)
        losses = dict(
            one_hot=self.one_hot_loss(output.logits_BK, candidates.labels_B),
            **self.bn_terms(output.bn_statistics, len(views_BCHW),
                            self.past_statistics))
        if self.adversarial_loss is not None and not self.warming_up:
            losses['adversarial'] = -self.adversarial_loss(
                self.student_logits(views_BCHW), output.logits_BK)
        return losses | self.extra_losses(candidates, output)

    def extra_losses(self, batch: SyntheticBatch,
                     output: TeacherOutput) -> Losses:
        """What an algorithm adds; ``output`` is the teacher's answer to the
        views of ``batch``, with its graph."""
        return {}

    def student_batch(self) -> tuple[Tensor, TeacherOutput]:
        """Images of the pool, augmented, and the teacher's logits.

        Raises:
            UserError: If no synthesis has made a finite image yet.
        """
        if len(self.pool) == 0:
            raise UserError('no synthesis has made a finite image, so there '
                            'is nothing to learn from: check the teacher, or '
                            'lower optim_wrapper.generator.optimizer.lr')
        stream = self.streams.get('pool')
        images_BCHW, logits_BK = self.pool.draw(self.batch_size, stream)
        batch = self.augmented(SyntheticBatch(images_BCHW.to(self.device)))
        if logits_BK is None:
            logits_BK = self.teacher_logits(batch.views_BCHW)
        return batch.views_BCHW, TeacherOutput(logits_BK.to(self.device))

    def prefill_pool(self, images_BCHW: Tensor) -> None:
        """See :meth:`BaseDFKD.prefill_pool`."""
        self.pool.add(images_BCHW)

    @property
    def bare_generator(self) -> Any:
        """The generator outside of its wrapper."""
        return unwrapped(self.generator)

    def training_state(self) -> dict:
        """See :meth:`BaseDFKD.training_state`; with the pool."""
        return super().training_state() | dict(
            pool=self.pool.state_dict(),
            past_statistics=self.past_statistics.state_dict(),
            iterations=self.iterations)

    def load_training_state(self, state: dict) -> None:
        """See :meth:`BaseDFKD.load_training_state`."""
        super().load_training_state(state)
        self.pool.load_state_dict(state['pool'])
        self.past_statistics.load_state_dict(state['past_statistics'])
        self.iterations = state['iterations']
