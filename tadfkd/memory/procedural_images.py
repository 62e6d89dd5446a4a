"""Procedural images, as many of each class as the teacher finds."""
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tadfkd.errors import UserError, require_at_least, require_share
from tadfkd.generators.procedural import ProceduralGenerator
from tadfkd.memory.class_balance import most_balanced
from tadfkd.utils.precision import at_least_float32


class ProceduralImages:
    """A fixed set of procedural images, on which the teacher is measured and
    from which the student learns.

    They show a teacher most of its classes, where noise shows few. The
    teacher chooses the set from more candidates: its classes are as equally
    frequent as possible, and each has the images that it is surest of.

    Args:
        families: See :class:`~tadfkd.generators.ProceduralGenerator`.
        size: Number of images, >= 2.
        num_candidates: Images that the teacher chooses from, >= ``size``.
        share: Of a student's batch that is procedural, in [0, 1].
        alone: Share of the run at whose start the student sees nothing else,
            in [0, 1].
        **generator: Other arguments of the ``ProceduralGenerator``.

    Attributes:
        logit_deviation: Mean over the set of the standard deviation of the
            teacher's logits within a sample; known after :meth:`make`.
    """

    #: Candidates per forward of the teacher.
    CHUNK = 256

    def __init__(self,
                 families: Sequence[dict],
                 size: int = 2048,
                 num_candidates: int = 32768,
                 share: float = 0.25,
                 alone: float = 0.05,
                 **generator: Any) -> None:
        require_at_least('model.procedural', 'size', size, 2)
        require_at_least('model.procedural', 'num_candidates', num_candidates,
                         size)
        require_share('model.procedural', 'share', share)
        require_share('model.procedural', 'alone', alone)
        self.generator = ProceduralGenerator(families, **generator)
        self.size = size
        self.num_candidates = num_candidates
        self.share = share
        self.alone = alone
        self.logit_deviation = 1.0
        self._images = torch.empty(0)

    @torch.no_grad()
    def make(self, teacher: Any, stream: torch.Generator) -> None:
        """Draw the candidates, and let the teacher choose.

        Memory is that of five times as many images as the set has.

        Args:
            teacher: A :class:`~tadfkd.teachers.BaseTeacher`.
            stream: On the teacher's device.

        Raises:
            UserError: If the teacher answers nothing that is finite.
        """
        # What is refused now would be refused with all candidates too.
        kept = self._candidates(teacher, self.size, stream)
        for start in range(self.size, self.num_candidates, self.size):
            new = self._candidates(teacher,
                                   min(self.size, self.num_candidates - start),
                                   stream)
            kept = _best([torch.cat(both) for both in zip(kept, new)],
                         self.size)
        if len(kept[1]) == 0:
            raise UserError('the teacher answers no procedural image with '
                            'finite logits: check the teacher with '
                            '`tadfkd check`')
        self._images, logits_SK = _best(kept, self.size)
        self.logit_deviation = float(logits_SK.std(1, unbiased=False).mean())

    def _candidates(self, teacher: Any, size: int,
                    stream: torch.Generator) -> list[Tensor]:
        """images_BCHW, uint8, and logits_BK, which are finite."""
        images, logits = [], []
        for start in range(0, size, self.CHUNK):
            # As an image file has them, in a quarter of the memory.
            bytes_BCHW = (self.draw(min(self.CHUNK, size - start), stream) *
                          255).round().byte()
            logits_BK = at_least_float32(
                teacher(bytes_BCHW.float() / 255).logits_BK)
            finite_B = logits_BK.isfinite().all(1)
            images.append(bytes_BCHW[finite_B].cpu())
            logits.append(logits_BK[finite_B].cpu())
        return [torch.cat(images), torch.cat(logits)]

    def draw(self, size: int, stream: torch.Generator) -> Tensor:
        """images_BCHW, float in [0, 1], which the teacher has not chosen.

        Args:
            size: B.
            stream: On the device of the images.
        """
        return self.generator.to(stream.device)(
            torch.randn(
                size,
                self.generator.latent_size,
                generator=stream,
                device=stream.device))

    def sample(self, size: int, stream: torch.Generator) -> Tensor:
        """images_BCHW, float in [0, 1], drawn with replacement, on the CPU.

        Args:
            size: B.
            stream: A generator of the CPU.
        """
        return self._images[torch.randint(
            len(self._images), (size, ), generator=stream)].float() / 255


def _best(candidates: list[Tensor], size: int) -> list[Tensor]:
    """As many of each class as there are, the surest first."""
    logits_NK = candidates[1]
    if len(logits_NK) == 0:
        return candidates
    confidence_N, labels_N = logits_NK.softmax(1).max(1)
    order_N = confidence_N.argsort(descending=True, stable=True)
    chosen_S = order_N[most_balanced(labels_N[order_N], size)]
    return [part[chosen_S] for part in candidates]
