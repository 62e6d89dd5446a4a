"""Feature exchange and activation region constraint (CVPR 2023)."""
from typing import Any

import torch
from torch import Tensor

from tadfkd.algorithms.base import Losses
from tadfkd.algorithms.building import build_part, require_generator
from tadfkd.algorithms.inversion import InversionDFKD
from tadfkd.algorithms.stage_maps import StageMaps, class_gradients
from tadfkd.distributed.reductions import gather_ints
from tadfkd.errors import UserError, require_at_least
from tadfkd.losses import ClassActivationLoss, GradCAMLoss
from tadfkd.memory import RingBuffer
from tadfkd.registry import MODELS
from tadfkd.structures import SyntheticBatch, TeacherOutput


@MODELS.register_module()
class SpaceshipNet(InversionDFKD):
    """Images of exchanged features, and a student that looks at the same.

    A bank keeps the generator's features of all images. A new image mixes two
    of them: at one of three layers, each channel comes from the second image
    with probability 0.7, and the following layers decode the mixture::

        generator:  0.5 CE(T(x), y) + BN(x)
        student:    30^2 / K KL(softmax T(x) / 30 || softmax S(x) / 30)
                    + mean (M(S) - M(T))^2 + sum_l mean (G_l(S) - G_l(T))^2

    where M_k = sum_c w_kc f_c are the class activation maps of all classes:
    f is the last feature map and w the weight of the linear layer. G_l is the
    grad-CAM, not rectified, of the teacher's class k in the map f_l that ends
    resolution l: sum_c f_lc mean_hw d logit_k / d f_lc. Both w and this
    gradient are constants of the step. CVPR 2023; the share of exchange is
    ours.

    Args:
        exchange_probability: Probability that a channel is exchanged, in
            [0, 1].
        exchange_share: Share of exchanged images in a student batch, in
            [0, 1]; the others come from the pool.
        bank_capacity: Images whose features are kept, >= 2.
        activation_loss: Config of a
            :class:`~tadfkd.losses.ClassActivationLoss`.
        grad_cam_loss: Config of a :class:`~tadfkd.losses.GradCAMLoss`.
        **inversion: See :class:`InversionDFKD`.

    Raises:
        UserError: If a network has no feature maps, or none under its last
            linear layer.
    """

    def __init__(self, exchange_probability: float, exchange_share: float,
                 bank_capacity: int, activation_loss: dict,
                 grad_cam_loss: dict, **inversion: Any) -> None:
        super().__init__(**inversion)
        for name, value in dict(
                exchange_probability=exchange_probability,
                exchange_share=exchange_share).items():
            if not isinstance(value, int | float) or not 0 <= value <= 1:
                raise UserError(f'{name} must be in [0, 1], got {value!r}: '
                                f'set model.{name}')
        require_at_least('model', 'bank_capacity', bank_capacity, 2)
        self.exchange_probability = exchange_probability
        self.exchange_share = exchange_share
        require_generator(self, self.generator, 'UpsamplingGenerator',
                          'feature_layers', 'encode', 'decode')
        self.activation_loss = build_part('activation_loss', activation_loss,
                                          ClassActivationLoss)
        self.grad_cam_loss = build_part('grad_cam_loss', grad_cam_loss,
                                        GradCAMLoss)
        self.stage_maps = StageMaps.of(self, 'model.grad_cam_loss')
        self.banks = [
            RingBuffer(bank_capacity)
            for _ in self.bare_generator.feature_layers
        ]
        if self.teacher is not None:
            self.class_layers = self.stage_maps.class_layers(self)

    def end_synthesis(self, made: SyntheticBatch, latents_BZ: Tensor) -> None:
        """Keep the generator's features of the latents."""
        with torch.no_grad():
            for bank, features in zip(self.banks,
                                      self.bare_generator.encode(latents_BZ)):
                bank.add(features)

    @torch.no_grad()
    def student_batch(self) -> tuple[Tensor, TeacherOutput]:
        """Exchanged images and images of the pool, with maps."""
        size = round(self.exchange_share * self.batch_size)
        made = []
        if size > 0 and min(map(len, self.banks)) > 0:
            made.append(
                self.candidates.select(self.exchanged(size)).images_BCHW)
        stored_BCHW = self.pool_images(self.batch_size - sum(map(len, made)))
        images_BCHW = torch.cat((*made, stored_BCHW))
        views_BCHW = self.candidates.augmented(
            SyntheticBatch(images_BCHW)).views_BCHW
        return views_BCHW, self.stage_maps.of_teacher(self, views_BCHW)

    @torch.no_grad()
    def exchanged(self, size: int) -> SyntheticBatch:
        """Images of features that two kept images exchange at a layer."""
        stream = self.streams.get('exchange')
        # The first process chooses for all, which go through the same layers.
        layer = gather_ints(
            int(torch.randint(len(self.banks), (), generator=stream)))[0]
        own, other = (self.banks[layer].sample(size, stream) for _ in range(2))
        exchange_BC = torch.rand(
            own.shape[:2], generator=stream) < self.exchange_probability
        features = torch.where(exchange_BC[:, :, None, None], other, own)
        self.counters.images_generated += size
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
