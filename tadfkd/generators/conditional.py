"""Generators that are told which class to make."""
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tadfkd.checkpoints.reading import read_checkpoint
from tadfkd.errors import UserError, require_at_least
from tadfkd.generators.upsampling import UpsamplingGenerator
from tadfkd.registry import MODELS


@MODELS.register_module()
class ConditionalGenerator(UpsamplingGenerator):
    """G(z + e_y): a learned vector a class is added to the latent.

    Do et al., NeurIPS 2022.

    Args:
        num_classes: K, >= 2.
        **upsampling: See :class:`UpsamplingGenerator`.
    """

    def __init__(self, num_classes: int, **upsampling: Any) -> None:
        super().__init__(num_classes=num_classes, **upsampling)
        self.embedding = nn.Embedding(num_classes, self.latent_size)

    def forward(self,
                latents_BZ: Tensor,
                labels_B: Tensor | None = None) -> Tensor:
        """See :meth:`BaseGenerator.forward`; labels are needed."""
        assert labels_B is not None, 'a conditional generator needs labels'
        return super().forward(latents_BZ + self.embedding(labels_B))


@MODELS.register_module()
class LabelEmbeddingGenerator(UpsamplingGenerator):
    """G(W_g BN(e_y)): a fixed vector a class, through a noisy linear layer.

    The layer is what makes images of one class differ: it is drawn anew for
    every synthesis and trained in it, and there are several of it, each for
    the next K samples of a batch. Latents are not read.
    arXiv 2310.00258, whose vectors come from a text encoder; without a file
    of such they are orthogonal and random here.

    Args:
        num_classes: K, >= 2.
        num_noisy_layers: Of the layers W_g; sample i goes through layer
            i // K, and on from the first after the last. >= 1.
        embedding_size: E, >= K. Not read if there is a file.
        embedding_file: File of ``torch.save(dict(embedding=rows_KE))``, one
            row a class.
        **upsampling: See :class:`UpsamplingGenerator`; ``latent_size`` is
            what the noisy layer gives.

    Raises:
        UserError: If the file does not hold K rows, or E is less than K.
    """

    def __init__(self,
                 num_classes: int,
                 num_noisy_layers: int = 1,
                 embedding_size: int = 512,
                 embedding_file: str | None = None,
                 **upsampling: Any) -> None:
        super().__init__(num_classes=num_classes, **upsampling)
        require_at_least('model.generator', 'num_noisy_layers',
                         num_noisy_layers, 1)
        if embedding_file is None:
            require_at_least('model.generator', 'embedding_size',
                             embedding_size, num_classes)
            # Always the same, so that a student can be trained again.
            stream = torch.Generator().manual_seed(0)
            square = torch.randn(embedding_size, num_classes, generator=stream)
            embedding_KE = torch.linalg.qr(square).Q.T.contiguous()
        else:
            embedding_KE = _read_embedding(embedding_file, num_classes)
        self.register_buffer('embedding_KE', embedding_KE)
        width = embedding_KE.shape[1]
        self.norm = nn.BatchNorm1d(width)
        self.noisy_GEZ = nn.Parameter(
            torch.empty(num_noisy_layers, width, self.latent_size))
        self.reset_noise(torch.default_generator)

    def draw_noise(self, stream: torch.Generator) -> Tensor:
        """Other noisy layers, from N(0, 1), on the stream's device."""
        return torch.randn(
            self.noisy_GEZ.shape, generator=stream, device=stream.device)

    @torch.no_grad()
    def reset_noise(self, stream: torch.Generator) -> None:
        """Draw the noisy layers anew."""
        self.noisy_GEZ.copy_(self.draw_noise(stream))

    def forward(self,
                latents_BZ: Tensor,
                labels_B: Tensor | None = None) -> Tensor:
        """See :meth:`BaseGenerator.forward`; labels are needed."""
        assert labels_B is not None, 'a conditional generator needs labels'
        batch, (groups, width, _) = len(labels_B), self.noisy_GEZ.shape
        rows_BE = self.norm(functional.embedding(labels_B, self.embedding_KE))
        # Samples in turns of K through one layer each, as one batched
        # product: (G, samples, E) times (G, E, Z).
        assert self.num_classes is not None
        turns = -(-batch // (groups * self.num_classes))
        padded = functional.pad(
            rows_BE,
            (0, 0, 0, turns * groups * self.num_classes - batch)).view(
                turns, groups, self.num_classes, width)
        latents = torch.einsum('tgke,gez->tgkz', padded, self.noisy_GEZ)
        return super().forward(latents.reshape(-1, self.latent_size)[:batch])


def _read_embedding(path: str, num_classes: int) -> Tensor:
    content = read_checkpoint(path).get('embedding')
    if not isinstance(content, Tensor) or content.ndim != 2 \
            or len(content) != num_classes:
        got = tuple(content.shape) if isinstance(content, Tensor) \
            else type(content).__name__
        raise UserError(f'{path} must hold dict(embedding=...) with a tensor '
                        f'of {num_classes} rows, one a class, got {got}: '
                        'change model.generator.embedding_file')
    return content.float()
