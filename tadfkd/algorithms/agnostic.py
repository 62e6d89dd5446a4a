"""Data-free distillation in the teacher's own units."""
from typing import Any

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor

from tadfkd.algorithms.base import Losses
from tadfkd.algorithms.building import build_image_losses, require_generator
from tadfkd.algorithms.inversion import InversionDFKD, nothing_made
from tadfkd.errors import UserError, require_at_least
from tadfkd.memory import RingBuffer, class_balanced
from tadfkd.registry import MODELS
from tadfkd.structures import SyntheticBatch, TeacherOutput


@MODELS.register_module()
class AgnosticDFKD(InversionDFKD):
    """One setting for any teacher: every term has the teacher's own unit.

    Let P be procedural images: of many candidates, those that the teacher is
    surest of, class by class. With s = the mean over P of the standard
    deviation of T's logits within a sample, the student's moving average A,
    views v of the generator's images x, and t the share of the run that is
    done::

        synthesis:  CE(T(v), y) + w1 BN(v) + w2 pixels(x) + w3 smooth(x)
                    - w4 r(t) [argmax A = argmax T] KL(T(v) || A(v))
        student:    (L1 + KL_4)(S(v), T(v) - mean T(v)) / s

    A student's batch has images of P, and images of the pool, balanced over
    the teacher's classes. If ``procedural.share`` is 1, it has P alone, and
    there is no synthesis. Otherwise the first iteration fills the pool by
    several syntheses, and each later one adds one. r rises from 0 to 1. The
    weights w give each term a share of the gradient at P. Labels y are
    balanced. Each synthesis redraws the generator's first layer, and every
    ``reset_interval`` syntheses the whole generator.

    It is this project's own algorithm. Of its parts, balanced labels and the
    redrawn layer are NAYER's (arXiv 2310.00258), the rise of the adversary
    is CuDFKD's (arXiv 2208.13648), the mask is CMI's
    (arXiv 2105.08584), and the selection is TA-DFKD's (arXiv 2402.12406).

    Args:
        image_losses: Config of an :class:`~tadfkd.losses.ImageLoss` by name,
            of the images as the teacher normalises them.
        reset_interval: Syntheses from one new generator to the next, >= 1.
        num_first_syntheses: Syntheses of the first iteration that has any,
            >= 1.
        num_further_images: Images that a synthesis makes at its end, from
            latents that it has not trained on, >= 0. The teacher recognises
            them as well, and they cost one forward.
        ramp: Shares of the run at which the adversary begins, and at which it
            has its whole weight; both in [0, 1].
        **inversion: See :class:`InversionDFKD` and :class:`BaseDFKD`. The
            generator is a :class:`~tadfkd.generators.ConditionalGenerator`,
            and ``procedural`` is required.

    Raises:
        UserError: If a number is out of range, or a part is missing.
    """

    def __init__(self,
                 image_losses: dict[str, dict] = {},
                 reset_interval: int = 10,
                 num_first_syntheses: int = 1,
                 num_further_images: int = 0,
                 ramp: tuple[float, float] = (0.25, 0.75),
                 **inversion: Any) -> None:
        super().__init__(**inversion)
        require_generator(self, self.generator, 'ConditionalGenerator',
                          'embedding', 'project')
        if self.procedural is None:
            raise UserError('AgnosticDFKD needs procedural images: set '
                            'model.procedural')
        require_at_least('model', 'reset_interval', reset_interval, 1)
        require_at_least('model', 'num_first_syntheses', num_first_syntheses,
                         1)
        require_at_least('model', 'num_further_images', num_further_images, 0)
        if not 0 <= ramp[0] < ramp[1] <= 1:
            raise UserError('ramp must be (begin, end) with 0 <= begin < end '
                            f'<= 1, got {ramp!r}: set model.ramp')
        # The teacher's class of each image of the pool.
        self.pool_labels = RingBuffer(self.pool.capacity)
        self.image_losses = build_image_losses(image_losses)
        self.reset_interval = reset_interval
        self.num_first_syntheses = num_first_syntheses
        self.num_further_images = num_further_images
        self.ramp = ramp
        self.syntheses = 0

    @property
    def adversary_weight(self) -> float:
        """See :attr:`InversionDFKD.adversary_weight`."""
        begin, end = self.ramp
        return min(1.0, max(0.0, (self.progress - begin) / (end - begin)))

    def synthesis(self, optim_wrapper: OptimWrapperDict) -> Losses:
        """One synthesis, or those of the first iteration. See
        :meth:`InversionDFKD.synthesis`."""
        number = self.num_first_syntheses if self.syntheses == 0 else 1
        for _ in range(number):
            losses = super().synthesis(optim_wrapper)
        return losses

    def synthesis_labels(self, size: int) -> Tensor:
        """labels_B, every class in turn, then a random rest."""
        return self.candidates.labels_in_turn(size)

    def begin_synthesis(self, wrapper: OptimWrapper) -> None:
        """A new first layer, and from time to time a new generator."""
        network = self.bare_generator
        if self.syntheses % self.reset_interval == 0:
            self.reinitialize(network)
            wrapper.optimizer.state.clear()
        else:
            self.reinitialize(network.project)
            for weights in network.project.parameters():
                wrapper.optimizer.state.pop(weights, None)
        self.syntheses += 1

    @torch.no_grad()
    def end_synthesis(self, made: SyntheticBatch, latents_BZ: Tensor) -> None:
        """More images by the trained generator, for the pool."""
        size = self.num_further_images
        if size > 0:
            self.keep(
                self.candidates.select(
                    self.candidates.made_from(
                        self.candidates.latents(size),
                        self.synthesis_labels(size), self.bare_generator)))

    def extra_losses(self, batch: SyntheticBatch,
                     output: TeacherOutput) -> Losses:
        """Image terms."""
        images_BCHW = self.teacher.input_adapter.normalize(batch.images_BCHW)
        return {
            name: loss(images_BCHW)
            for name, loss in self.image_losses.items()
        }

    def keep(self, selected: SyntheticBatch) -> None:
        """Put the selected images into the pool, with the teacher's class."""
        logits_BK = selected.teacher_logits_BK
        if logits_BK is None:
            logits_BK = self.teacher_logits(selected.images_BCHW)
        finite_B = selected.images_BCHW.flatten(1).isfinite().all(1)
        self.pool.add(selected.images_BCHW[finite_B])
        self.pool_labels.add(logits_BK.argmax(1)[finite_B, None])

    def pool_images(self, size: int) -> Tensor:
        """images_BCHW of the pool, balanced over the teacher's classes."""
        if len(self.pool) == 0:
            raise nothing_made()
        places_B = class_balanced(self.pool_labels.rows()[:, 0], size,
                                  self.streams.get('pool'))
        return self.pool.take(places_B).to(self.device)

    def training_state(self) -> dict:
        """See :meth:`BaseDFKD.training_state`."""
        return super().training_state() | dict(
            syntheses=self.syntheses,
            pool_labels=self.pool_labels.state_dict())

    def load_training_state(self, state: dict) -> None:
        """See :meth:`BaseDFKD.load_training_state`."""
        super().load_training_state(state)
        self.syntheses = state['syntheses']
        self.pool_labels.load_state_dict(state['pool_labels'])
