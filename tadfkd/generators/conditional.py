"""Class-conditional generators: labels say which class an image shows."""
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
    """G(z + s e_y): a learned vector per class is added to the latent.

    Do et al., NeurIPS 2022, with s = 1.

    Args:
        num_classes: K, >= 2.
        label_scale: s, > 0. The vectors begin as long as the latents. With a
            smaller s images of one class differ more, and fewer of them are
            of the class that was asked for.
        **upsampling: See :class:`UpsamplingGenerator`.

    Example:
        >>> generator = ConditionalGenerator(
        ...     10, latent_size=4, image_size=8, width=2)
        >>> generator(torch.randn(5, 4), torch.arange(5)).shape
        torch.Size([5, 3, 8, 8])
    """

    def __init__(self,
                 num_classes: int,
                 label_scale: float = 1.0,
                 **upsampling: Any) -> None:
        super().__init__(num_classes=num_classes, **upsampling)
        require_at_least('model.generator', 'label_scale', label_scale, 1e-6)
        self.label_scale = label_scale
        self.embedding = nn.Embedding(num_classes, self.latent_size)

    def forward(self,
                latents_BZ: Tensor,
                labels_B: Tensor | None = None) -> Tensor:
        """See :meth:`BaseGenerator.forward`; labels are required."""
        assert labels_B is not None, 'a conditional generator needs labels'
        return super().forward(latents_BZ +
                               self.label_scale * self.embedding(labels_B))


@MODELS.register_module()
class LabelEmbeddingGenerator(UpsamplingGenerator):
    """G(W_g BN(e_y)): a fixed vector per class, through a noisy linear layer.

    The noisy layer makes images of one class differ. Each synthesis draws new
    values for it and trains it. There are several layers; each serves the
    next K samples of a batch. Latents are not read. arXiv 2310.00258 takes
    the vectors from a text encoder; without such a file they are random and
    orthogonal here.

    Args:
        num_classes: K, >= 2.
        num_noisy_layers: Number of layers W_g, >= 1. Sample i goes through
            layer i // K, and after the last layer the first one follows.
        embedding_size: E, >= K, the length of the random vectors; None with
            a file.
        embedding_file: File of ``torch.save(dict(embedding=rows_KE))``, one
            row per class.
        **upsampling: See :class:`UpsamplingGenerator`; ``latent_size`` is
            the output size of the noisy layer.

    Raises:
        UserError: If the file does not hold K rows, or E is less than K.

    Example:
        >>> generator = LabelEmbeddingGenerator(
        ...     10, embedding_size=16, latent_size=4, image_size=8, width=2)
        >>> generator(None, torch.arange(10)).shape
        torch.Size([10, 3, 8, 8])
    """

    def __init__(self,
                 num_classes: int,
                 num_noisy_layers: int = 1,
                 embedding_size: int | None = None,
                 embedding_file: str | None = None,
                 **upsampling: Any) -> None:
        super().__init__(num_classes=num_classes, **upsampling)
        require_at_least('model.generator', 'num_noisy_layers',
                         num_noisy_layers, 1)
        if embedding_file is None:
            require_at_least('model.generator', 'embedding_size',
                             embedding_size, num_classes)
            assert embedding_size is not None
            # The seed is fixed, so that every run has the same vectors.
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
        """New values for the noisy layers, from N(0, 1), on the stream's
        device."""
        return torch.randn(
            self.noisy_GEZ.shape, generator=stream, device=stream.device)

    @torch.no_grad()
    def reset_noise(self, stream: torch.Generator) -> None:
        """Give the noisy layers new values."""
        self.noisy_GEZ.copy_(self.draw_noise(stream))

    def forward(self,
                latents_BZ: Tensor | None,
                labels_B: Tensor | None = None) -> Tensor:
        """See :meth:`BaseGenerator.forward`; labels are required."""
        assert labels_B is not None, 'a conditional generator needs labels'
        batch, (groups, width, _) = len(labels_B), self.noisy_GEZ.shape
        rows_BE = self.norm(functional.embedding(labels_B, self.embedding_KE))
        # Each layer takes K samples in turn. One batched product computes
        # all: (G, samples, E) times (G, E, Z).
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
                        f'of {num_classes} rows, one per class, got {got}: '
                        'change model.generator.embedding_file')
    return content.float()
