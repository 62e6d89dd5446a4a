"""Contrastive model inversion (IJCAI 2021)."""
from typing import Any, Literal

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn

from tadfkd.algorithms.base import Losses
from tadfkd.algorithms.building import (blank_images, build_augmentation,
                                        build_part)
from tadfkd.algorithms.inversion import InversionDFKD
from tadfkd.algorithms.state_dicts import ignore_projection
from tadfkd.errors import UserError, require_at_least, require_choice
from tadfkd.losses import InfoNCELoss
from tadfkd.memory import AtLowestLoss, RingBuffer
from tadfkd.networks.feature_maps import find_map_layers
from tadfkd.registry import MODELS
from tadfkd.structures import SyntheticBatch, TeacherOutput


@MODELS.register_module()
class CMI(InversionDFKD):
    """Inverted images that differ from all that were made before.

    With images x of classes y, B in a batch, and a projection h of the
    teacher's features of two views of each image::

        generator:  CE(T(x), y) + BN(x) + 0.8 contrastive
                    - 0.5 KL(softmax T(x) || softmax S(x)) where both agree
        contrastive: mean_{i <= B} l_i + mean_{i > B} l_i
                    l_i = -log(exp(q_i k_i / 0.1) / sum_j exp(q_i k_j / 0.1))
        student:    20^2 KL(softmax T(x) / 20 || softmax S(x) / 20) on the pool

    where the features are the means over positions of the maps that end the
    teacher's stages, side by side, and h has one hidden layer of their width.
    q is h of the local views and k, without gradient, h of the global views,
    both of length 1: first of the batch, then of up to 4096 different pairs
    of a bank. The bank keeps the features of both views, at the step of the
    lowest loss, of the newest 40960 images. The generator is reinitialised
    for each synthesis, with weights of N(0, 0.02); h keeps its weights.
    Teacher and student see the global view. arXiv 2105.08584.
    ``examples/cmi_plain.py`` is the same algorithm as one plain script.

    The released code differs in two ways. It reads what enters the stages of
    ResNet-34, so the stem and not the last stage: 512 features for our 960;
    of other teachers it reads what enters each batch norm. And of a bank that
    has just become full it draws 0 pairs, so that its loss, a mean over no
    pairs, is NaN. Ours draws all that are asked for, such as 12 of 12.

    Args:
        features: ``'stages'``, or ``'penultimate'`` for a teacher without
            feature maps.
        embedding_size: Outputs of h, >= 1.
        contrastive_loss: Config of an :class:`~tadfkd.losses.InfoNCELoss`.
        local_augment: Config of the augmentation that makes local views;
            ``synthesis_augment`` makes the global views.
        bank_capacity: Images whose pairs of features the bank holds, >= 1.
        num_negatives: Pairs drawn from the bank in each step, at most, >= 0.
        **inversion: See :class:`InversionDFKD`.

    Raises:
        UserError: If the teacher does not have these features.
    """

    trained_networks = ('student', 'generator', 'projection')
    scalable_losses = False

    def __init__(self, features: Literal['stages', 'penultimate'],
                 embedding_size: int, contrastive_loss: dict,
                 local_augment: dict, bank_capacity: int, num_negatives: int,
                 **inversion: Any) -> None:
        super().__init__(**inversion)
        require_choice('model', 'features', features,
                       ('stages', 'penultimate'))
        require_at_least('model', 'embedding_size', embedding_size, 1)
        require_at_least('model', 'bank_capacity', bank_capacity, 1)
        require_at_least('model', 'num_negatives', num_negatives, 0)
        self.features = features
        self.stages: tuple[nn.Module, ...] = ()
        self.projection: nn.Sequential | None = None
        if self.teacher is None:
            self.register_load_state_dict_pre_hook(ignore_projection)
        else:
            self.projection = self._build_projection(embedding_size)
        self.contrastive_loss = build_part('contrastive_loss',
                                           contrastive_loss, InfoNCELoss)
        self.local_augment = build_augmentation('local_augment', local_augment,
                                                self.generator)
        self.bank = RingBuffer(bank_capacity)
        self.num_negatives = num_negatives

    def _build_projection(self, embedding_size: int) -> nn.Sequential:
        images_BCHW = blank_images(self.generator)
        if self.features == 'stages':
            layers = find_map_layers(
                self.teacher.network, lambda: self.teacher.logits(
                    self.teacher.input_adapter(images_BCHW)))
            if not layers:
                raise UserError(
                    f'{type(self.teacher.network).__name__} has no feature '
                    "maps, which model.features='stages' reads: set "
                    "model.features='penultimate'")
            self.stages = tuple(layers.values())
        width = self.features_of(
            self.teacher(images_BCHW, **self.teacher_options())).shape[1]
        return nn.Sequential(
            nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, embedding_size))

    def teacher_options(self) -> dict[str, Any]:
        """The maps or the penultimate features."""
        if self.features == 'stages':
            return dict(maps_at=self.stages)
        return dict(with_features=True)

    def features_of(self, output: TeacherOutput) -> Tensor:
        """features_BF of the teacher's answer, with their graph."""
        if self.features == 'penultimate':
            assert output.features_BF is not None
            return output.features_BF
        assert output.maps is not None
        return torch.cat([values.mean((2, 3)) for values in output.maps], 1)

    def begin_synthesis(self, wrapper: OptimWrapper) -> None:
        """A new generator, and an optimiser without a past."""
        self.reinitialize(self.bare_generator, 'normal')
        wrapper.optimizer.state.clear()
        self.best_pairs = AtLowestLoss()

    def extra_losses(self, batch: SyntheticBatch,
                     output: TeacherOutput) -> Losses:
        """The contrastive term."""
        stream = self.streams.get('local_augmentation', self.device)
        local_BF = self.features_of(
            self.teacher(
                self.local_augment(batch.images_BCHW, stream),
                **self.teacher_options()))
        global_BF = self.features_of(output)
        self.pairs = torch.cat((local_BF, global_BF), 1).detach()
        return dict(contrastive=self.contrast(local_BF, global_BF))

    def contrast(self, local_BF: Tensor, global_BF: Tensor) -> Tensor:
        """The contrastive term of a batch and of pairs of the bank.

        Args:
            local_BF: Features of the local views, with their graph.
            global_BF: Features of the global views of the same images.
        """
        size = len(local_BF)
        if len(self.bank) > 0 and self.num_negatives > 0:
            pairs_N2F = self.bank.sample_distinct(self.num_negatives,
                                                  self.streams.get('bank'))
            local_NF, global_NF = pairs_N2F.to(self.device).chunk(2, 1)
            local_BF = torch.cat((local_BF, local_NF))
            global_BF = torch.cat((global_BF, global_NF))
        assert self.projection is not None
        # One call, so that a distributed wrapper sees one forward.
        queries, keys = self.projection(torch.cat(
            (local_BF, global_BF))).chunk(2)
        keys = keys.detach()
        loss = self.contrastive_loss(queries[:size], keys)
        if len(queries) > size:
            # Query i of the bank finds key i, so its keys come first.
            loss = loss + self.contrastive_loss(queries[size:],
                                                keys.roll(-size, 0))
        return loss

    def step_auxiliary(self, optim_wrapper: OptimWrapperDict,
                       loss: Tensor) -> None:
        """The projection learns from the same loss, and the pairs of the step
        may be those to remember."""
        wrapper = optim_wrapper['projection']
        wrapper.add_loss(loss)
        wrapper.step()
        wrapper.zero_grad()
        self.counters.steps['projection'] += 1
        self.best_pairs.offer(self.pairs, loss)

    def end_synthesis(self, made: SyntheticBatch, latents_BZ: Tensor) -> None:
        """Remember the pairs of the step of lowest loss, selected or not."""
        self.bank.add(self.best_pairs.values)

    def training_state(self) -> dict:
        """See :meth:`BaseDFKD.training_state`; with the bank."""
        return super().training_state() | dict(bank=self.bank.state_dict())

    def load_training_state(self, state: dict) -> None:
        """See :meth:`BaseDFKD.load_training_state`."""
        super().load_training_state(state)
        self.bank.load_state_dict(state['bank'])
