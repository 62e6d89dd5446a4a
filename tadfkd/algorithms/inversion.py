"""Batches are inverted into a pool, and the student learns from the pool."""
from dataclasses import replace
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn

from tadfkd.algorithms.base import BaseDFKD, Losses, prefixed
from tadfkd.algorithms.building import (build_augmentation, build_bn_loss,
                                        build_part)
from tadfkd.distributed.reductions import global_statistics
from tadfkd.distributed.wrapper import unwrapped
from tadfkd.engine.skip_nonfinite import step_if_finite
from tadfkd.errors import UserError, require_at_least
from tadfkd.losses import LabelLoss, LogitsLoss
from tadfkd.memory import AtLowestLoss, AveragedStatistics, ImagePool
from tadfkd.networks.reinitialize import InitialWeights, reinitialize
from tadfkd.structures import SyntheticBatch, TeacherOutput
from tadfkd.utils.library_errors import as_config_error

#: Of Adam within a synthesis.
SYNTHESIS_BETAS = (0.5, 0.999)


def nothing_made() -> UserError:
    """The error of a student step before there is any image."""
    return UserError('no synthesis has made a finite image, so there is '
                     'nothing to learn from: check the teacher, or lower '
                     'optim_wrapper.generator.optimizer.lr')


class InversionDFKD(BaseDFKD):
    """An iteration is one synthesis, then student steps on the pool.

    A synthesis optimises the generator and one batch of latents for many
    steps. With labels y drawn for the batch it minimises::

        CE(T(x), y) + BN(x) - d(S(x), T(x)) + extra losses

    each with its weight. The images at the lowest loss go into the pool, as
    far as the selector keeps them. A student step draws from the whole pool.

    Args:
        pool: Arguments of an :class:`~tadfkd.memory.ImagePool`.
        one_hot_loss: Config of the :class:`~tadfkd.losses.LabelLoss`.
        bn_loss: Config of a :class:`~tadfkd.losses.StatisticsLoss`, or None.
        bn_momentum: See :class:`~tadfkd.memory.AveragedStatistics`, which
            averages over syntheses.
        adversarial_loss: Config of the :class:`~tadfkd.losses.LogitsLoss` d
            that a synthesis maximises, or None.
        num_generator_steps: Steps per synthesis, >= 1.
        num_student_steps: Student steps per iteration, >= 1.
        synthesis_batch_size: Images per synthesis, >= 2; None takes
            ``batch_size``.
        synthesis_augment: Config of an augmentation of the images that enter
            the losses of a synthesis, or None.
        latent_lr: Learning rate of Adam (betas 0.5 and 0.999) on the latents,
            >= 0; 0 leaves the latents as they were drawn.
        warmup_iterations: Iterations at the start that only fill the pool,
            without the student, >= 0.
        **base: See :class:`BaseDFKD`.
    """

    takes_procedural = True

    def __init__(self,
                 pool: dict,
                 one_hot_loss: dict,
                 bn_loss: dict | None = None,
                 bn_momentum: float = 0.0,
                 adversarial_loss: dict | None = None,
                 num_generator_steps: int = 1,
                 num_student_steps: int = 1,
                 synthesis_batch_size: int | None = None,
                 synthesis_augment: dict | None = None,
                 latent_lr: float = 0.0,
                 warmup_iterations: int = 0,
                 **base: Any) -> None:
        super().__init__(**base)
        if synthesis_batch_size is None:
            synthesis_batch_size = self.batch_size
        require_at_least('model', 'num_student_steps', num_student_steps, 1)
        require_at_least('model', 'num_generator_steps', num_generator_steps,
                         1)
        require_at_least('model', 'synthesis_batch_size', synthesis_batch_size,
                         2)
        require_at_least('model', 'latent_lr', latent_lr, 0.0)
        require_at_least('model', 'warmup_iterations', warmup_iterations, 0)
        with as_config_error('model.pool'):
            self.pool = ImagePool(**pool)
        self.one_hot_loss = build_part('one_hot_loss', one_hot_loss, LabelLoss)
        self.bn_loss = build_bn_loss(bn_loss, self.teacher, self.generator)
        self.past_statistics = AveragedStatistics(bn_momentum)
        self.adversarial_loss = build_part(
            'adversarial_loss', adversarial_loss,
            LogitsLoss) if adversarial_loss else None
        self.synthesis_augment = build_augmentation('synthesis_augment',
                                                    synthesis_augment,
                                                    self.generator)
        self.num_generator_steps = num_generator_steps
        self.num_student_steps = num_student_steps
        self.synthesis_batch_size = synthesis_batch_size
        self.latent_lr = latent_lr
        self.warmup_iterations = warmup_iterations
        self.iterations = 0

    @property
    def warming_up(self) -> bool:
        """Whether the student does not take part yet."""
        return self.iterations < self.warmup_iterations

    @property
    def total_student_steps(self) -> int:
        """See :attr:`BaseDFKD.total_student_steps`."""
        # A run may end within its warm-up.
        return max(
            self.num_student_steps,
            super().total_student_steps -
            self.warmup_iterations * self.num_student_steps)

    @property
    def adversary_weight(self) -> float:
        """Factor of the adversarial loss; 0 leaves it out."""
        return 0.0 if self.warming_up else 1.0

    @property
    def bare_generator(self) -> Any:
        """The generator outside of its distributed wrapper."""
        return unwrapped(self.generator)

    def train_step(self, data: object,
                   optim_wrapper: OptimWrapperDict) -> Losses:
        """See :meth:`BaseDFKD.train_step`."""
        losses: Losses = {}
        if self.warming_up \
                or self.num_procedural(self.batch_size) < self.batch_size:
            losses = prefixed('generator', self.synthesis(optim_wrapper))
        if not self.warming_up:
            for _ in range(self.num_student_steps):
                student_losses = self.student_step(optim_wrapper['student'])
            losses |= prefixed('student', student_losses)
        self.iterations += 1
        return losses

    def synthesis(self, optim_wrapper: OptimWrapperDict) -> Losses:
        """Invert one batch into the pool; return the last step's losses."""
        size = self.synthesis_batch_size
        latents_BZ = self.candidates.latents(size)
        if self.latent_lr > 0:
            # The loss is a mean over the samples of all processes.
            latents_BZ.requires_grad_().register_hook(
                lambda gradient: gradient / get_world_size())
        labels_B = self.synthesis_labels(size)
        self.begin_synthesis(optim_wrapper['generator'])
        self.calibrate(lambda images_BCHW: self.inversion_losses(
            images_BCHW, self.synthesis_labels(len(images_BCHW)), 1.0))
        images_BCHW, losses = self.invert(latents_BZ, labels_B, optim_wrapper)
        self.counters.images_generated += size
        made = SyntheticBatch(images_BCHW, labels_B)
        self.keep(self.candidates.select(made))
        self.past_statistics.advance()
        self.end_synthesis(made, latents_BZ.detach())
        return losses

    def keep(self, selected: SyntheticBatch) -> None:
        """Put the selected images of a synthesis into the pool."""
        self.pool.add(selected.images_BCHW)

    def synthesis_labels(self, size: int) -> Tensor:
        """labels_B of the images of a synthesis."""
        return self.candidates.labels(size)

    def begin_synthesis(self, wrapper: OptimWrapper) -> None:
        """Prepare generator and optimiser for another batch."""

    def end_synthesis(self, made: SyntheticBatch, latents_BZ: Tensor) -> None:
        """Keep what later syntheses or the student need.

        Args:
            made: The images at the lowest loss, and their labels.
            latents_BZ: The latents after the last step.
        """

    def invert(self, latents_BZ: Tensor, labels_B: Tensor,
               optim_wrapper: OptimWrapperDict) -> tuple[Tensor, Losses]:
        """Train generator and latents on one batch.

        Returns:
            The images at the lowest loss, and the losses of the last step.
        """
        wrapper = optim_wrapper['generator']
        optimizer = torch.optim.Adam([latents_BZ], self.latent_lr,
                                     SYNTHESIS_BETAS)
        best = AtLowestLoss()
        for _ in range(self.num_generator_steps):
            with self.train_only('generator', wrapper):
                images_BCHW = self.generated(latents_BZ, labels_B)
                losses = self.weighted(
                    self.inversion_losses(images_BCHW, labels_B))
            optimizer.zero_grad()
            losses = self.update('generator', wrapper,
                                 (losses, len(images_BCHW)))
            if self.latent_lr > 0:
                step_if_finite(optimizer, losses['total'])
            best.offer(images_BCHW, losses['total'])
            self.step_auxiliary(optim_wrapper, losses['total'])
        return best.values, losses

    def generated(self, latents_BZ: Tensor, labels_B: Tensor) -> Tensor:
        """images_BCHW of a step of a synthesis, with their graph."""
        return self.generator(latents_BZ, labels_B)

    def step_auxiliary(self, optim_wrapper: OptimWrapperDict,
                       loss: Tensor) -> None:
        """What follows a generator step: other networks that learn in a
        synthesis step too, or something of the step is kept.

        Args:
            optim_wrapper: One wrapper for each trained network.
            loss: The scalar loss whose gradients the networks hold.
        """

    def inversion_losses(self,
                         images_BCHW: Tensor,
                         labels_B: Tensor,
                         adversary: float | None = None) -> Losses:
        """The terms that a synthesis minimises.

        Args:
            images_BCHW: Float in [0, 1], with their graph.
            labels_B: The classes drawn for the images.
            adversary: Factor of the adversarial loss; None takes
                :attr:`adversary_weight`.
        """
        if adversary is None:
            adversary = self.adversary_weight
        batch = SyntheticBatch(images_BCHW, labels_B)
        if self.synthesis_augment is not None:
            stream = self.streams.get('synthesis_augmentation', self.device)
            batch = replace(
                batch,
                augmented_BCHW=self.synthesis_augment(images_BCHW, stream))
        views_BCHW = batch.views_BCHW
        output = self.teacher(
            views_BCHW,
            with_bn=self.bn_loss is not None,
            **self.teacher_options())
        losses = dict(one_hot=self.one_hot_loss(output.logits_BK, labels_B))
        if self.bn_loss is not None:
            losses['bn'] = self.bn_loss(
                self.past_statistics.average(
                    global_statistics(output.bn_statistics, len(views_BCHW))))
        if self.adversarial_loss is not None and adversary > 0:
            losses['adversarial'] = -adversary * self.adversarial_loss(
                self.result_logits(views_BCHW), output.logits_BK)
        return losses | self.extra_losses(batch, output)

    def teacher_options(self) -> dict[str, Any]:
        """What ``extra_losses`` read beside logits and batch-norm statistics,
        as keywords of :meth:`~tadfkd.teachers.BaseTeacher.forward`."""
        return {}

    def extra_losses(self, batch: SyntheticBatch,
                     output: TeacherOutput) -> Losses:
        """The terms that an algorithm adds.

        Args:
            batch: Images, labels and views of the synthesis.
            output: The teacher's answer to the views, with its graph.
        """
        return {}

    def student_step(self, wrapper: OptimWrapper) -> Losses:
        """Train the student on one batch of the pool."""
        with self.train_only('student', wrapper):
            images_BCHW, target = self.student_batch()
            losses = self.student_losses(images_BCHW, target)
        return self.update('student', wrapper, (losses, len(images_BCHW)))

    def student_batch(self) -> tuple[Tensor, TeacherOutput]:
        """Images of the pool and, where there are any, procedural ones;
        augmented, and with the teacher's logits."""
        count = self.num_procedural(self.batch_size)
        if count == 0:
            images_BCHW = self.pool_images(self.batch_size)
        elif count == self.batch_size:
            images_BCHW = self.procedural_images(count)
        else:
            images_BCHW = torch.cat(
                (self.procedural_images(count),
                 self.pool_images(self.batch_size - count)))
        views_BCHW = self.candidates.augmented(
            SyntheticBatch(images_BCHW)).views_BCHW
        return views_BCHW, TeacherOutput(self.teacher_logits(views_BCHW))

    def pool_images(self, size: int) -> Tensor:
        """images_BCHW of the pool, drawn with replacement.

        Raises:
            UserError: If no synthesis has made a finite image yet.
        """
        if len(self.pool) == 0:
            raise nothing_made()
        return self.pool.sample(size, self.streams.get('pool')).to(self.device)

    def reinitialize(self,
                     module: nn.Module,
                     weights: InitialWeights = 'default') -> None:
        """Draw new weights for a part of the generator, the same ones in all
        processes. See :func:`~tadfkd.networks.reinitialize.reinitialize`."""
        reinitialize(module, self.streams.get('generator', shared=True),
                     weights)

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
