"""Robust and resource-efficient distillation by generative replay (2022)."""
from typing import Any

import torch
from mmengine.optim import OptimWrapperDict
from torch import Tensor, nn

from tadfkd.algorithms.alternating import AlternatingDFKD
from tadfkd.algorithms.base import BaseDFKD, Losses, prefixed
from tadfkd.algorithms.building import build_part, share_normalization
from tadfkd.distributed.wrapper import unwrapped
from tadfkd.errors import require_at_least
from tadfkd.losses import ClassPrior, LogitsLoss
from tadfkd.memory import BaseReplay
from tadfkd.registry import MODELS
from tadfkd.structures import SyntheticBatch, TeacherOutput


class ReplaySource:
    """Replayed images of a model, and the steps in which its replay learns.

    The replay becomes the model's child ``replay``. It is trained if it has
    weights.

    Args:
        model: The algorithm.
        config: Of a :class:`~tadfkd.memory.BaseReplay`.
        batch_size: Replayed images per student step, >= 2.
        num_steps: Student steps of an iteration, from its first, in which the
            replay learns, >= 1.
    """

    def __init__(self, model: BaseDFKD, config: dict, batch_size: int,
                 num_steps: int) -> None:
        require_at_least('model', 'replay_batch_size', batch_size, 2)
        require_at_least('model', 'num_replay_steps', num_steps, 1)
        self.model: Any = model
        self.model.replay = build_part('replay', config, BaseReplay)
        share_normalization(model.teacher, self.model.replay)
        self.batch_size = batch_size
        self.num_steps = 0
        if any(True for _ in self.replay.parameters()):
            self.num_steps = num_steps
            model.trained_networks = (*model.trained_networks, 'replay')

    @property
    def replay(self) -> BaseReplay:
        """The replay outside of its distributed wrapper."""
        return unwrapped(self.model.replay)

    @torch.no_grad()
    def batch(self) -> tuple[Tensor, TeacherOutput] | None:
        """views_BCHW of replayed images and the teacher's answer to them,
        without graph; None while the replay is empty."""
        model = self.model
        images_BCHW = self.replay.recall(self.batch_size,
                                         model.streams.get('recall'))
        if images_BCHW is None:
            return None
        views_BCHW = model.candidates.augmented(
            SyntheticBatch(images_BCHW.to(model.device))).views_BCHW
        return views_BCHW, model.teacher(views_BCHW)

    def learn(self, step: int, images_BCHW: Tensor, target: TeacherOutput,
              optim_wrapper: OptimWrapperDict) -> Losses:
        """Train the replay, if it learns in this step.

        Args:
            step: Number of the student step in its iteration, from 0.
            images_BCHW: The images of the student step.
            target: The teacher's answer to them.
            optim_wrapper: One wrapper for each trained network.

        Returns:
            The losses, none if the replay does not learn.
        """
        if step >= self.num_steps:
            return {}
        model, wrapper = self.model, optim_wrapper['replay']
        with model.train_only('replay', wrapper):
            losses = model.replay(images_BCHW, target.logits_BK, model.teacher,
                                  model.streams.get('replay', model.device))
        return model.update('replay', wrapper, (losses, len(images_BCHW)))


class PriorAndDivergence(nn.Module):
    """What drives the generator of PRE-DFKD: class prior and divergence.

    Args:
        class_prior: Config of a :class:`~tadfkd.losses.ClassPrior`.
        adversarial_loss: Config of a :class:`~tadfkd.losses.LogitsLoss` d;
            the generator minimises ``weight - d``.
    """

    def __init__(self, class_prior: dict, adversarial_loss: dict) -> None:
        super().__init__()
        self.class_prior = build_part('class_prior', class_prior, ClassPrior)
        self.adversarial_loss = build_part('adversarial_loss',
                                           adversarial_loss, LogitsLoss)

    def losses(self, model: BaseDFKD, selected: SyntheticBatch) -> Losses:
        """Both terms, as means over the selected images."""
        views_BCHW = selected.views_BCHW
        output = model.teacher(
            views_BCHW, with_features=self.class_prior.reads_features)
        divergence = self.adversarial_loss(
            model.student_logits(views_BCHW), output.logits_BK)
        return dict(
            adversarial=self.adversarial_loss.loss_weight - divergence,
            **self.class_prior(output, selected.labels_B))


@MODELS.register_module()
class PREDFKD(AlternatingDFKD):
    """The student is reminded of images that the generator made before.

    With new images x and replayed images r::

        generator:  CE(T(x), argmax T(x)) + 5 sum_k pbar_k log10 pbar_k
                    - 0.1 mean |f_T(x)| + 1 - JS_3(S(x), T(x))
        student:    mean |S - T| over the 1024 x and 128 r
        replay:     a variational autoencoder that learns x and r in the first
                    4 of 10 student steps, see GenerativeReplay

    arXiv 2201.03019.

    Args:
        replay: See :class:`ReplaySource`.
        replay_batch_size: Replayed images per student step, >= 2.
        num_replay_steps: Student steps in which the replay learns, >= 1.
        class_prior: See :class:`PriorAndDivergence`.
        adversarial_loss: See :class:`PriorAndDivergence`.
        **alternating: See :class:`AlternatingDFKD`.
    """

    def __init__(self, replay: dict, replay_batch_size: int,
                 num_replay_steps: int, class_prior: dict,
                 adversarial_loss: dict, **alternating: Any) -> None:
        super().__init__(**alternating)
        self.replayed = ReplaySource(self, replay, replay_batch_size,
                                     num_replay_steps)
        self.generator_terms = PriorAndDivergence(class_prior,
                                                  adversarial_loss)

    def train_step(self, data: object,
                   optim_wrapper: OptimWrapperDict) -> Losses:
        """Student steps, then generator steps. The replay also learns in the
        first student steps."""
        wrapper = optim_wrapper['student']
        losses: Losses = {}
        for step in range(self.num_student_steps):
            with self.train_only('student', wrapper):
                images_BCHW, target = self.student_batch()
                terms = self.student_losses(images_BCHW, target)
            terms = self.update('student', wrapper, (terms, len(images_BCHW)))
            losses |= prefixed('student', terms)
            terms = self.replayed.learn(step, images_BCHW, target,
                                        optim_wrapper)
            losses |= prefixed('replay', terms)
        for _ in range(self.num_generator_steps):
            terms = self.generator_step(optim_wrapper['generator'])
        return losses | prefixed('generator', terms)

    def student_batch(self) -> tuple[Tensor, TeacherOutput]:
        """New images, which the replay observes, and replayed ones."""
        images_BCHW, target = super().student_batch()
        self.replayed.replay.observe(images_BCHW)
        recalled = self.replayed.batch()
        if recalled is None:
            return images_BCHW, target
        return (torch.cat((images_BCHW, recalled[0])),
                TeacherOutput(
                    torch.cat((target.logits_BK, recalled[1].logits_BK))))

    def generator_losses(self, selected: SyntheticBatch) -> Losses:
        """See :class:`PriorAndDivergence`."""
        return self.generator_terms.losses(self, selected)

    def training_state(self) -> dict:
        """See :meth:`BaseDFKD.training_state`; with the replay's memory."""
        return super().training_state() | dict(
            replay=self.replayed.replay.training_state())

    def load_training_state(self, state: dict) -> None:
        """See :meth:`BaseDFKD.load_training_state`."""
        super().load_training_state(state)
        self.replayed.replay.load_training_state(state['replay'])
