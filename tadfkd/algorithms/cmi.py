"""Contrastive model inversion (IJCAI 2021)."""
from typing import Any

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn

from tadfkd.algorithms.base import Losses
from tadfkd.algorithms.building import (blank_images, build_augmentation,
                                        build_part)
from tadfkd.algorithms.inversion import InversionDFKD
from tadfkd.errors import UserError, require_at_least
from tadfkd.losses import InfoNCELoss
from tadfkd.memory import RingBuffer
from tadfkd.registry import MODELS
from tadfkd.structures import SyntheticBatch, TeacherOutput


@MODELS.register_module()
class CMI(InversionDFKD):
    """Inverted images that differ from all that were made before.

    With images x of classes y, and a projection h of the teacher's
    penultimate features of views of x::

        generator:  CE(T(x), y) + BN(x) + 0.8 InfoNCE_0.1(h(local), h(global))
                    - 0.5 KL(softmax T(x) || softmax S(x)) where both agree
        student:    20^2 KL(softmax T(x) / 20 || softmax S(x) / 20) on the pool

    with 4096 of the 40960 features in a bank as further negatives. The
    generator is reinitialised for each synthesis, with weights of N(0, 0.02);
    h keeps its weights. Teacher and student see the global view.
    arXiv 2105.08584.
    ``examples/cmi_plain.py`` is the same algorithm as one plain script.

    Args:
        num_features: Penultimate features of the teacher, >= 1.
        embedding_size: Outputs of h, >= 1.
        contrastive_loss: Config of an :class:`~tadfkd.losses.InfoNCELoss`.
        local_augment: Config of the augmentation that makes local views;
            ``synthesis_augment`` makes the global views.
        bank_capacity: Images whose features the bank holds, >= 1.
        num_negatives: Features drawn from the bank in each step, >= 0.
        **inversion: See :class:`InversionDFKD`.

    Raises:
        UserError: If the teacher has another number of features.
    """

    trained_networks = ('student', 'generator', 'projection')
    reads_features = True
    scalable_losses = False

    def __init__(self, num_features: int, embedding_size: int,
                 contrastive_loss: dict, local_augment: dict,
                 bank_capacity: int, num_negatives: int,
                 **inversion: Any) -> None:
        super().__init__(**inversion)
        require_at_least('model', 'num_features', num_features, 1)
        require_at_least('model', 'embedding_size', embedding_size, 1)
        require_at_least('model', 'bank_capacity', bank_capacity, 1)
        require_at_least('model', 'num_negatives', num_negatives, 0)
        if self.teacher is not None:
            features = self.teacher(
                blank_images(self.generator), with_features=True).features_BF
            if features.shape[1] != num_features:
                raise UserError(
                    f'num_features must be {features.shape[1]}, as the '
                    f'teacher has, got {num_features}: set model.num_features')
        self.projection = nn.Sequential(
            nn.Linear(num_features, embedding_size), nn.ReLU(),
            nn.Linear(embedding_size, embedding_size))
        self.contrastive_loss = build_part('contrastive_loss',
                                           contrastive_loss, InfoNCELoss)
        self.local_augment = build_augmentation('local_augment', local_augment,
                                                self.generator)
        self.bank = RingBuffer(bank_capacity)
        self.num_negatives = num_negatives

    def begin_synthesis(self, wrapper: OptimWrapper) -> None:
        """A new generator, and an optimiser without a past."""
        self.reinitialize(self.bare_generator, 'normal')
        wrapper.optimizer.state.clear()

    def extra_losses(self, batch: SyntheticBatch,
                     output: TeacherOutput) -> Losses:
        """The contrastive term."""
        stream = self.streams.get('local_augmentation', self.device)
        local_BF = self.teacher(
            self.local_augment(batch.images_BCHW, stream),
            with_features=True).features_BF
        global_NF = output.features_BF
        assert local_BF is not None and global_NF is not None
        if len(self.bank) > 0 and self.num_negatives > 0:
            stream = self.streams.get('bank')
            negatives_NF = self.bank.sample(self.num_negatives, stream)
            global_NF = torch.cat((global_NF, negatives_NF.to(self.device)))
        # One call, so that a distributed wrapper sees one forward.
        embeddings = self.projection(torch.cat((local_BF, global_NF)))
        return dict(
            contrastive=self.contrastive_loss(embeddings[:len(local_BF)],
                                              embeddings[len(local_BF):]))

    def step_auxiliary(self, optim_wrapper: OptimWrapperDict,
                       loss: Tensor) -> None:
        """The projection learns from the same loss."""
        wrapper = optim_wrapper['projection']
        wrapper.add_loss(loss)
        wrapper.step()
        wrapper.zero_grad()
        self.counters.steps['projection'] += 1

    @torch.no_grad()
    def end_synthesis(self, made: SyntheticBatch, latents_BZ: Tensor) -> None:
        """Remember the features."""
        self.bank.add(
            self.teacher(made.images_BCHW, with_features=True).features_BF)

    def training_state(self) -> dict:
        """See :meth:`BaseDFKD.training_state`; with the bank."""
        return super().training_state() | dict(bank=self.bank.state_dict())

    def load_training_state(self, state: dict) -> None:
        """See :meth:`BaseDFKD.load_training_state`."""
        super().load_training_state(state)
        self.bank.load_state_dict(state['bank'])
