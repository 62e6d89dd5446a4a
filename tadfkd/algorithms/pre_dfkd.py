"""Robust and resource-efficient distillation by generative replay (2022)."""
from typing import Any

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor

from tadfkd.algorithms.base import BaseDFKD, Losses, prefixed
from tadfkd.algorithms.building import (build_class_prior, build_logits_loss,
                                        build_part)
from tadfkd.distributed.reductions import global_means
from tadfkd.distributed.wrapper import unwrapped
from tadfkd.errors import require_at_least
from tadfkd.memory import BaseReplay
from tadfkd.registry import MODELS
from tadfkd.structures import SyntheticBatch, TeacherOutput


@MODELS.register_module()
class PREDFKD(BaseDFKD):
    """The student is reminded of images that the generator made before.

    With new images x and replayed images r::

        generator:  CE(T(x), argmax T(x)) + 5 sum_k pbar_k log10 pbar_k
                    - 0.1 mean |f_T(x)| + 1 - JS_3(S(x), T(x))
        student:    mean |S - T| over the 1024 x and 128 r
        replay:     a variational autoencoder that learns x and r in the first
                    4 of 10 student steps, see GenerativeReplay

    arXiv 2201.03019.

    Args:
        replay: Config of a :class:`~tadfkd.memory.BaseReplay`.
        replay_batch_size: Replayed images a student step, >= 2.
        num_replay_steps: Student steps of an iteration, from its first, in
            which the replay learns, >= 1.
        class_prior: Config of a :class:`~tadfkd.losses.ClassPrior`.
        adversarial_loss: Config of a divergence d; the generator minimises
            ``weight - d``.
        **base: Everything else of :class:`BaseDFKD`.
    """

    def __init__(self,
                 replay: dict,
                 replay_batch_size: int = 128,
                 num_replay_steps: int = 4,
                 class_prior: dict = dict(type='ClassPrior'),
                 adversarial_loss: dict = dict(type='JSLoss', temperature=3.0),
                 **base: Any) -> None:
        super().__init__(**base)
        require_at_least('model', 'replay_batch_size', replay_batch_size, 2)
        require_at_least('model', 'num_replay_steps', num_replay_steps, 1)
        self.replay = build_part('replay', replay, BaseReplay)
        self.replay_batch_size = replay_batch_size
        self.num_replay_steps = num_replay_steps
        self.class_prior = build_class_prior(self, class_prior)
        self.adversarial_loss = build_logits_loss(self, 'adversarial_loss',
                                                  adversarial_loss)
        if any(True for _ in self.replay.parameters()):
            self.trained_networks = (*self.trained_networks, 'replay')

    def train_step(self, data: object,
                   optim_wrapper: OptimWrapperDict) -> Losses:
        """The student steps, in some of which the replay learns, then the
        generator steps; ``student_first`` is not read."""
        replay_losses: Losses = {}
        for step in range(self.num_student_steps):
            with optim_wrapper['student'].optim_context(self.student):
                images_BCHW, target = self.student_batch()
            student_losses = self.student_update(images_BCHW, target,
                                                 optim_wrapper['student'])
            if step < self.num_replay_steps and \
                    'replay' in self.trained_networks:
                replay_losses = self.replay_update(images_BCHW, target,
                                                   optim_wrapper['replay'])
        for _ in range(self.num_generator_steps):
            generator_losses = self.generator_step(optim_wrapper['generator'])
        return prefixed('student', student_losses) | prefixed(
            'generator', generator_losses) | prefixed('replay', replay_losses)

    def replay_update(self, images_BCHW: Tensor, target: TeacherOutput,
                      optim_wrapper: OptimWrapper) -> Losses:
        """Train the replay on the images of a student step."""
        with optim_wrapper.optim_context(self.replay):
            losses = global_means(
                self.replay(images_BCHW, target.logits_BK, self.teacher,
                            self.streams.get('replay', self.device)),
                len(images_BCHW))
        return self._update(losses, optim_wrapper)

    def student_batch(self) -> tuple[Tensor, TeacherOutput]:
        """New images and replayed ones."""
        images_BCHW, target = self.new_batch()
        recalled = self.recalled_batch()
        if recalled is None:
            return images_BCHW, target
        return (torch.cat((images_BCHW, recalled[0])),
                TeacherOutput(
                    torch.cat((target.logits_BK, recalled[1].logits_BK))))

    def new_batch(self) -> tuple[Tensor, TeacherOutput]:
        """New images, which the replay takes in, and the teacher's answer."""
        images_BCHW, target = super().student_batch()
        unwrapped(self.replay).observe(images_BCHW)
        return images_BCHW, target

    @torch.no_grad()
    def recalled_batch(self) -> tuple[Tensor, TeacherOutput] | None:
        """Replayed images, augmented like new ones, and the teacher's answer
        to them; None while there is nothing to replay."""
        images_BCHW = unwrapped(self.replay).recall(self.replay_batch_size,
                                                    self.streams.get('recall'))
        if images_BCHW is None:
            return None
        views_BCHW = self.augmented(
            SyntheticBatch(images_BCHW.to(self.device))).views_BCHW
        return views_BCHW, self.teacher(views_BCHW)

    def generator_losses(self, candidates: SyntheticBatch,
                         selected: SyntheticBatch) -> Losses:
        """Class prior and divergence of the selected images."""
        views_BCHW = selected.views_BCHW
        output = self.teacher(
            views_BCHW, with_features=self.class_prior.reads_features)
        divergence = self.adversarial_loss(
            self.student_logits(views_BCHW), output.logits_BK)
        return dict(
            adversarial=self.adversarial_loss.loss_weight - divergence,
            **self.class_prior(output, selected.labels_B))

    def training_state(self) -> dict:
        """See :meth:`BaseDFKD.training_state`; with what is replayed."""
        return super().training_state() | dict(
            replay=unwrapped(self.replay).training_state())

    def load_training_state(self, state: dict) -> None:
        """See :meth:`BaseDFKD.load_training_state`."""
        super().load_training_state(state)
        unwrapped(self.replay).load_training_state(state['replay'])
