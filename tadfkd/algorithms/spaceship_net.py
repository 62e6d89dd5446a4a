"""Feature exchange and activation region constraint (CVPR 2023)."""
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor

from tadfkd.algorithms.base import Losses
from tadfkd.algorithms.building import build_part, require_generator
from tadfkd.algorithms.inversion import InversionDFKD, nothing_made
from tadfkd.algorithms.stage_maps import StageMaps, class_gradients
from tadfkd.errors import UserError, require_at_least
from tadfkd.losses import ClassActivationLoss, GradCAMLoss
from tadfkd.memory import AtLowestLoss, RingBuffer
from tadfkd.networks.capture import capture
from tadfkd.networks.freezing import frozen
from tadfkd.registry import MODELS
from tadfkd.structures import SyntheticBatch, TeacherOutput


@MODELS.register_module()
class SpaceshipNet(InversionDFKD):
    """Images of exchanged features, and a student that looks at the same.

    Each synthesis has every class in turn as its labels, new latents, which
    are not trained, and an optimiser without a past. Banks keep the
    generator's features, at three layers, of its step of lowest loss. Each
    student step draws a batch of features of one layer, and the following
    layers of the generator, in eval mode, decode it. With probability 0.7 the
    batch is exchanged before: of sample b, half of the channels, redrawn
    for each sample, stay, and the others come from sample B - 1 - b::

        generator:  0.5 CE(T(x), y) + BN(x)
        student:    30^2 / K KL(softmax T(x) / 30 || softmax S(x) / 30)
                    + mean (M(S) - M(T))^2 + sum_l mean (G_l(S) - G_l(T))^2

    where M_k = sum_c w_kc f_c are the class activation maps of all classes:
    f is the last feature map and w the weight of the linear layer. G_l is the
    grad-CAM, not rectified, of the teacher's class k in the map f_l that ends
    resolution l: sum_c f_lc mean_hw d logit_k / d f_lc. Both w and this
    gradient are constants of the step. CVPR 2023.

    Args:
        exchange_probability: Probability that a student's batch is
            exchanged, in [0, 1].
        bank_capacity: Images whose features are kept, >= 2.
        activation_loss: Config of a
            :class:`~tadfkd.losses.ClassActivationLoss`.
        grad_cam_loss: Config of a :class:`~tadfkd.losses.GradCAMLoss`.
        **inversion: See :class:`InversionDFKD`. The student does not see the
            images of the pool. Its batch is smaller where the selector drops
            decoded images.

    Raises:
        UserError: If a network has no feature maps, or none under its last
            linear layer.
    """

    #: Its students' batches are its own.
    takes_procedural = False

    def __init__(self, exchange_probability: float, bank_capacity: int,
                 activation_loss: dict, grad_cam_loss: dict,
                 **inversion: Any) -> None:
        super().__init__(**inversion)
        if not isinstance(exchange_probability,
                          int | float) or not 0 <= exchange_probability <= 1:
            raise UserError(
                'exchange_probability must be in [0, 1], got '
                f'{exchange_probability!r}: set model.exchange_probability')
        require_at_least('model', 'bank_capacity', bank_capacity, 2)
        self.exchange_probability = exchange_probability
        require_generator(self, self.generator, 'UpsamplingGenerator',
                          'feature_layers', 'upsample', 'decode')
        self.activation_loss = build_part('activation_loss', activation_loss,
                                          ClassActivationLoss)
        self.grad_cam_loss = build_part('grad_cam_loss', grad_cam_loss,
                                        GradCAMLoss)
        self.stage_maps = StageMaps.of(self, 'model.grad_cam_loss')
        self.banks = [
            RingBuffer(bank_capacity)
            for _ in self.bare_generator.feature_layers
        ]
        self.feature_readers = [
            self.bare_generator.upsample[layer]
            for layer in self.bare_generator.feature_layers
        ]
        if self.teacher is not None:
            self.class_layers = self.stage_maps.class_layers(self)

    def synthesis_labels(self, size: int) -> Tensor:
        """labels_B, every class in turn, over the batches of all
        processes."""
        total = size * get_world_size()
        # With fewer images than classes, the next synthesis goes on.
        past = self.iterations * total if total < self.num_classes else 0
        first = past + get_rank() * size
        return torch.arange(
            first, first + size, device=self.device) % self.num_classes

    def begin_synthesis(self, wrapper: OptimWrapper) -> None:
        """An optimiser without a past."""
        wrapper.optimizer.state.clear()
        self.best_features = [AtLowestLoss() for _ in self.banks]

    def generated(self, latents_BZ: Tensor, labels_B: Tensor) -> Tensor:
        """See the base class; the features of the forward are remembered."""
        with capture(self.feature_readers, lambda _, inputs: inputs) \
                as self.features:
            return super().generated(latents_BZ, labels_B)

    def step_auxiliary(self, optim_wrapper: OptimWrapperDict,
                       loss: Tensor) -> None:
        """Keep the features if the loss is the lowest so far."""
        for best, features in zip(
                self.best_features, self.features, strict=True):
            best.offer(features, loss)
        self.features.clear()

    def end_synthesis(self, made: SyntheticBatch, latents_BZ: Tensor) -> None:
        """Store the features of the step of lowest loss."""
        for bank, best in zip(self.banks, self.best_features, strict=True):
            bank.add(best.values)

    def student_batch(self) -> tuple[Tensor, TeacherOutput]:
        """Decoded images, augmented, and the teacher's answer with maps."""
        batch = self.candidates.augmented(
            self.candidates.select(self.decoded(self.batch_size)))
        return batch.views_BCHW, self.stage_maps.of_teacher(
            self, batch.views_BCHW)

    @torch.no_grad()
    def decoded(self, size: int) -> SyntheticBatch:
        """Images of kept features of one layer, exchanged or as they are.

        Raises:
            UserError: If no synthesis has made a finite image yet.
        """
        if min(map(len, self.banks)) == 0:
            raise nothing_made()
        # The batches of all processes together are one batch.
        shared = self.streams.get('exchange', shared=True)
        layer = int(torch.randint(len(self.banks), (), generator=shared))
        chance = float(torch.rand((), generator=shared))
        stream = self.streams.get('features')
        features = self.banks[layer].sample(size, stream)
        if chance < self.exchange_probability:
            features = exchanged(features, half_of(features.shape[:2], stream))
        self.counters.images_generated += size
        with frozen(self.bare_generator):
            return SyntheticBatch(
                self.bare_generator.decode(
                    features.to(self.device),
                    self.bare_generator.feature_layers[layer]))

    def student_losses(self, images_BCHW: Tensor,
                       target: TeacherOutput) -> Losses:
        """Logits, class activation and grad-CAM."""
        logits_BK, maps = self.stage_maps.of_student(self, images_BCHW)
        assert target.maps is not None and target.map_gradients is not None
        teacher_KC, student_KC = (
            layer.weight.flatten(1) for layer in self.class_layers)
        gradients = class_gradients(logits_BK, maps,
                                    target.logits_BK.argmax(1))
        return dict(
            logits=self.student_loss(logits_BK, target.logits_BK),
            activation=self.activation_loss(maps[-1], student_KC,
                                            target.maps[-1], teacher_KC),
            grad_cam=self.grad_cam_loss(maps, gradients, target.maps,
                                        target.map_gradients))

    def training_state(self) -> dict:
        """See :meth:`BaseDFKD.training_state`; with the kept features."""
        return super().training_state() | dict(
            banks=[bank.state_dict() for bank in self.banks])

    def load_training_state(self, state: dict) -> None:
        """See :meth:`BaseDFKD.load_training_state`."""
        super().load_training_state(state)
        for bank, rows in zip(self.banks, state['banks'], strict=True):
            bank.load_state_dict(rows)


def half_of(shape: Sequence[int], stream: torch.Generator) -> Tensor:
    """own_BC, True for exactly C // 2 random channels of each sample."""
    return torch.rand(shape, generator=stream).argsort(1) < shape[1] // 2


def exchanged(features_BCHW: Tensor, own_BC: Tensor) -> Tensor:
    """Features of which sample b has the channels where ``own_BC`` is False
    from sample B - 1 - b."""
    return torch.where(own_BC[:, :, None, None], features_BCHW,
                       features_BCHW.flip(0))
