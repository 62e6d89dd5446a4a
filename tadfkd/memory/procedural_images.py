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
    from which the student learns first.

    They show a teacher most of its classes, where noise shows few. The
    teacher's answers choose the set from more candidates, so that its classes
    are as equally frequent as possible.

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
                 num_candidates: int = 8192,
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

        Args:
            teacher: A :class:`~tadfkd.teachers.BaseTeacher`.
            stream: On the teacher's device.
        """
        self.generator.to(stream.device)
        images, labels, deviations = [], [], []
        for start in range(0, self.num_candidates, self.CHUNK):
            latents_BZ = torch.randn(
                min(self.CHUNK, self.num_candidates - start),
                self.generator.latent_size,
                generator=stream,
                device=stream.device)
            # As an image file has them, in a quarter of the memory.
            bytes_BCHW = (self.generator(latents_BZ) * 255).round().byte()
            logits_BK = at_least_float32(
                teacher(bytes_BCHW.float() / 255).logits_BK)
            finite_B = logits_BK.isfinite().all(1)
            images.append(bytes_BCHW[finite_B].cpu())
            labels.append(logits_BK[finite_B].argmax(1).cpu())
            deviations.append(logits_BK[finite_B].std(1, unbiased=False).cpu())
        if not any(map(len, labels)):
            raise UserError('the teacher answers no procedural image with '
                            'finite logits: check the teacher with '
                            'tools/check_teacher.py')
        chosen_N = most_balanced(torch.cat(labels), self.size)
        self._images = torch.cat(images)[chosen_N]
        self.logit_deviation = float(torch.cat(deviations)[chosen_N].mean())

    def sample(self, size: int, stream: torch.Generator) -> Tensor:
        """images_BCHW, float in [0, 1], drawn with replacement, on the CPU.

        Args:
            size: B.
            stream: A generator of the CPU.
        """
        return self._images[torch.randint(
            len(self._images), (size, ), generator=stream)].float() / 255
