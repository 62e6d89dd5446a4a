"""Robust and resource-efficient distillation by generative replay (2022)."""
from typing import Any

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor

from tadfkd.algorithms.alternating import AlternatingDFKD
from tadfkd.algorithms.base import Losses, prefixed
from tadfkd.algorithms.building import build_part, share_normalization
from tadfkd.distributed.wrapper import unwrapped
from tadfkd.errors import require_at_least
from tadfkd.losses import ClassPrior, LogitsLoss
from tadfkd.memory import BaseReplay
from tadfkd.registry import MODELS
from tadfkd.structures import SyntheticBatch, TeacherOutput


@MODELS.register_module()
class PREDFKD(AlternatingDFKD):
    """The student is reminded of images that the generator made before.

    With new images x and replayed images r::

        generator:  CE(T(x), argmax T(x)) + 5 sum_k pbar_k log10 pbar_k
                    - 0.1 mean |f_T(x)| + 1 - JS_3(S(x), T(x))
        student:    mean |S - T| over the 1024 x and 128 r
        replay:     a variational autoencoder that learns 512 of x, and 128
                    other r, in the first 4 of 10 student steps

    The divergence reaches the generator through S(x) alone; in it, T(x) has no
    graph. The r are made from latents that take a step of Adam on the first
    two terms of the generator and on moments of the latents, see
    :class:`~tadfkd.memory.GenerativeReplay`. arXiv 2201.03019.

    The released code differs in five points, which ours does not repeat. The
    numbers are those of ``tests/test_parity``:

    - Its divergence is the released form of
      :class:`~tadfkd.losses.JSLoss`.
    - Its student is in train mode in generator steps.

    - It makes the r of the autoencoder in train mode, so that their statistics
      enter its batch norms. Ours are made in eval mode, as for the student.
    - Its step of the latents leaves a gradient on the decoder, of norm 1.40
      after a student step; ours leaves 0. It enters the decoder's next update,
      whose gradient has norm 2.80; ours has 0.686.
    - Its encoder first scales each column of each channel to length 1.00, so
      that it cannot see how strong a contrast is. In ours the columns keep
      their lengths, 6.90 on average.

    Args:
        replay: Config of a :class:`~tadfkd.memory.BaseReplay`. It is trained
            if it has weights.
        replay_batch_size: Replayed images per student step, >= 2.
        class_prior: Config of a :class:`~tadfkd.losses.ClassPrior`.
        adversarial_loss: Config of a :class:`~tadfkd.losses.LogitsLoss` d;
            the generator minimises ``weight - d``.
        num_replay_steps: Student steps of an iteration, from its first, in
            which a replay with weights learns, >= 1.
        **alternating: See :class:`AlternatingDFKD`.
    """

    #: Its students' batches are its own.
    takes_procedural = False

    def __init__(self,
                 replay: dict,
                 replay_batch_size: int,
                 class_prior: dict,
                 adversarial_loss: dict,
                 num_replay_steps: int = 1,
                 **alternating: Any) -> None:
        super().__init__(**alternating)
        require_at_least('model', 'replay_batch_size', replay_batch_size, 2)
        require_at_least('model', 'num_replay_steps', num_replay_steps, 1)
        self.replay = build_part('replay', replay, BaseReplay)
        share_normalization(self.teacher, self.replay)
        self.replay_batch_size = replay_batch_size
        self.num_replay_steps = 0
        if any(True for _ in self.replay.parameters()):
            self.num_replay_steps = num_replay_steps
            self.trained_networks = (*self.trained_networks, 'replay')
        self.class_prior = build_part('class_prior', class_prior, ClassPrior)
        self.adversarial_loss = build_part('adversarial_loss',
                                           adversarial_loss, LogitsLoss)

    def train_step(self, data: object,
                   optim_wrapper: OptimWrapperDict) -> Losses:
        """Student steps, then generator steps. The replay also learns in the
        first student steps."""
        losses: Losses = {}
        for step in range(self.num_student_steps):
            images_BCHW, target, terms = self.reminded_step(
                optim_wrapper['student'])
            losses |= prefixed('student', terms)
            if step < self.num_replay_steps:
                terms = self.replay_step(optim_wrapper['replay'], images_BCHW,
                                         target)
                losses |= prefixed('replay', terms)
        for _ in range(self.num_generator_steps):
            terms = self.generator_step(optim_wrapper['generator'])
        return losses | prefixed('generator', terms)

    def reminded_step(
            self,
            wrapper: OptimWrapper) -> tuple[Tensor, TeacherOutput, Losses]:
        """Train the student on new and replayed images.

        Returns:
            The new images, the teacher's answer to them, and the losses.
        """
        with self.train_only('student', wrapper):
            images_BCHW, target = self.student_batch()
            all_BCHW, answer = joined((images_BCHW, target), self.recalled())
            losses = self.student_losses(all_BCHW, answer)
        losses = self.update('student', wrapper, (losses, len(all_BCHW)))
        return images_BCHW, target, losses

    def replay_step(self, wrapper: OptimWrapper, images_BCHW: Tensor,
                    target: TeacherOutput) -> Losses:
        """Train the replay on half of the new images, and on images that it
        recalls itself once it has learnt for an iteration.

        Args:
            wrapper: The replay's optimiser wrapper.
            images_BCHW: The new images of a student step.
            target: The teacher's answer to them.
        """
        half = len(images_BCHW) // 2
        has_learnt = self.counters.steps['replay'] >= self.num_replay_steps
        with self.train_only('replay', wrapper):
            images_BCHW, target = joined(
                (images_BCHW[:half], TeacherOutput(target.logits_BK[:half])),
                self.recalled() if has_learnt else None)
            losses = self.replay(images_BCHW, target.logits_BK, self.teacher,
                                 self.streams.get('replay', self.device))
        return self.update('replay', wrapper, (losses, len(images_BCHW)))

    def student_batch(self) -> tuple[Tensor, TeacherOutput]:
        """New images, which the replay observes, and the teacher's answer."""
        images_BCHW, target = super().student_batch()
        unwrapped(self.replay).observe(images_BCHW)
        return images_BCHW, target

    @torch.no_grad()
    def recalled(self) -> tuple[Tensor, TeacherOutput] | None:
        """views_BCHW of replayed images and the teacher's answer to them,
        without graph; None while the replay is empty."""
        images_BCHW = unwrapped(self.replay).recall(self.replay_batch_size,
                                                    self.streams.get('recall'),
                                                    self.doubt)
        if images_BCHW is None:
            return None
        views_BCHW = self.candidates.augmented(
            SyntheticBatch(images_BCHW.to(self.device))).views_BCHW
        return views_BCHW, self.teacher(views_BCHW)

    def doubt(self, images_BCHW: Tensor) -> Tensor:
        """CE(T, argmax T) + 5 sum_k pbar_k log10 pbar_k of images, with their
        graph: the class prior without activations."""
        logits_BK = self.teacher(images_BCHW).logits_BK
        return self.class_prior.one_hot(logits_BK) + self.class_prior.balance(
            logits_BK)

    def generator_losses(self, selected: SyntheticBatch) -> Losses:
        """Class prior and divergence, as means over the selected images."""
        views_BCHW = selected.views_BCHW
        output = self.teacher(
            views_BCHW, with_features=self.class_prior.reads_features)
        divergence = self.adversarial_loss(
            self.student_logits(views_BCHW), output.logits_BK.detach())
        return dict(
            adversarial=self.adversarial_loss.loss_weight - divergence,
            **self.class_prior(output, selected.labels_B))

    def training_state(self) -> dict:
        """See :meth:`BaseDFKD.training_state`; with the replay's memory."""
        return super().training_state() | dict(
            replay=unwrapped(self.replay).training_state())

    def load_training_state(self, state: dict) -> None:
        """See :meth:`BaseDFKD.load_training_state`."""
        super().load_training_state(state)
        unwrapped(self.replay).load_training_state(state['replay'])


def joined(
    new: tuple[Tensor,
               TeacherOutput], replayed: tuple[Tensor, TeacherOutput] | None
) -> tuple[Tensor, TeacherOutput]:
    """New images, then replayed ones, with the teacher's answers."""
    if replayed is None:
        return new
    (new_BCHW, answer), (replayed_BCHW, replayed_answer) = new, replayed
    return (torch.cat((new_BCHW, replayed_BCHW)),
            TeacherOutput(
                torch.cat((answer.logits_BK, replayed_answer.logits_BK))))
