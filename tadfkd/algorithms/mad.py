"""Momentum adversarial distillation (NeurIPS 2022)."""
from typing import Any

import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import OptimWrapper
from torch import Tensor

from tadfkd.algorithms.base import Losses
from tadfkd.algorithms.candidates import CandidateSource
from tadfkd.algorithms.dfq import DFQ
from tadfkd.distributed.wrapper import unwrapped
from tadfkd.errors import UserError
from tadfkd.registry import MODELS
from tadfkd.structures import TeacherOutput


@MODELS.register_module()
class MAD(DFQ):
    """A slow copy of the generator reminds the student of older images.

    ::

        generator:  as DFQ, of x = G(z) or, conditional, x = G(z + e_y), then
                    with CE(T(x), y) in place of CE(T(x), argmax T(x))
        student:    as DFQ, on a batch of G and a batch of G', where
                    G' <- m G' + (1 - m) G after each generator step

    Do et al., NeurIPS 2022, with m = 0.95. The student's loss is the mean
    over both batches.

    Args:
        momentum: m, in (0, 1).
        **dfq: See :class:`DFQ`.
    """

    #: Its students' batches are its own.
    takes_procedural = False

    def __init__(self, momentum: float, **dfq: Any) -> None:
        super().__init__(**dfq)
        if not isinstance(momentum, float) or not 0 < momentum < 1:
            raise UserError(f'momentum must be in (0, 1), got {momentum!r}: '
                            'set model.momentum')
        # mmengine's momentum is the share of the new weights.
        self.slow_generator = ExponentialMovingAverage(
            self.generator, momentum=1 - momentum)
        # At step 0 mmengine would copy the generator's new weights.
        self.slow_generator.steps.fill_(1)
        source = self.candidates
        self.slow_candidates = CandidateSource(self.slow_generator.module,
                                               self.teacher, self.num_classes,
                                               source.selector, source.augment,
                                               self.streams, self.counters,
                                               source.select_on,
                                               source.max_rounds)

    def generator_step(self, wrapper: OptimWrapper) -> Losses:
        """See :meth:`AlternatingDFKD.generator_step`; then the slow copy
        follows."""
        losses = super().generator_step(wrapper)
        self.slow_generator.update_parameters(unwrapped(self.generator))
        return losses

    def student_batch(self) -> tuple[Tensor, TeacherOutput]:
        """A batch of the generator and one of its slow copy."""
        batches = [
            source.selected_batch(self.batch_size)
            for source in (self.candidates, self.slow_candidates)
        ]
        return (torch.cat([batch.views_BCHW for batch, _ in batches]),
                TeacherOutput(
                    torch.cat([logits_BK for _, logits_BK in batches])))

    def training_state(self) -> dict:
        """See :meth:`BaseDFKD.training_state`."""
        return super().training_state() | dict(
            slow_queue=self.slow_candidates.queue.state_dict())

    def load_training_state(self, state: dict) -> None:
        """See :meth:`BaseDFKD.load_training_state`."""
        super().load_training_state(state)
        self.slow_candidates.queue.load_state_dict(state['slow_queue'],
                                                   self.device)
