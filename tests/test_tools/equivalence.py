"""Runs of one process and of two that draw the same numbers."""
from collections.abc import Callable
from typing import Any

import torch
from algorithm_helpers import make_algorithm, optimisers, real_batch
from torch import Tensor, nn

from tadfkd.algorithms import BaseDFKD
from tadfkd.distributed.wrapper import unwrapped
from tadfkd.memory import ImagePool
from tadfkd.utils.randomness import RandomStreams

NUM_ITERATIONS = 10
BATCH_SIZE = 8
LEARNING_RATE = 1e-5
_SELECTION = dict(
    selector=dict(type='GMMSelector'),
    select_on='augmented',
    augment=dict(type='RandomCropFlip', padding=1))
#: Arguments of what is compared, beside those of make_algorithm.
COMPARED: dict[str, dict[str, Any]] = dict(
    TADFKD=_SELECTION | dict(
        num_student_steps=2,
        class_prior=dict(
            type='ClassPrior', one_hot=1.0, balance=5.0, activation=0.1),
        image_losses=dict(
            l2=dict(type='ImageL2Loss'),
            tv=dict(type='TotalVariationLoss', over='batch'),
            pixels=dict(type='PixelStatisticsLoss'))),
    DFAD=_SELECTION,
    DFQ=_SELECTION
    | dict(selector=dict(type='TopFractionSelector', fraction=0.8)),
    DAFL=_SELECTION,
    ZSKT=_SELECTION | dict(num_student_steps=2),
    MAD=_SELECTION,
    DeepInversion=dict(),
    # Adam takes whole steps along a gradient that is 0 but for rounding.
    FastDFKD=dict(
        augment=dict(type='RandomCropFlip', padding=1),
        inner_lr=1e-5,
        latent_lr=1e-4))


class Halves(nn.Module):
    """An augmentation that draws for each half as a process would."""

    def __init__(self, augment: nn.Module, purpose: str,
                 streams: list[RandomStreams]) -> None:
        super().__init__()
        self.augment = augment
        self.purpose = purpose
        self.streams = streams

    def forward(self, images_BCHW: Tensor, stream: torch.Generator) -> Tensor:
        """See the augmentation."""
        return torch.cat([
            self.augment(half, streams.get(self.purpose))
            for half, streams in zip(images_BCHW.chunk(2), self.streams)
        ])


class Pools:
    """A pool for the images of each half."""

    def __init__(self, pool: ImagePool, streams: list[RandomStreams]) -> None:
        self.pools = [
            ImagePool(pool.capacity, answer=pool.answer) for _ in streams
        ]
        self.streams = streams

    def __len__(self) -> int:
        return sum(map(len, self.pools))

    def add(self, rows: Tensor) -> None:
        """See ImagePool."""
        for pool, half in zip(self.pools, rows.chunk(2)):
            pool.add(half)

    def draw(self, size: int,
             stream: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """See ImagePool."""
        drawn = [
            pool.draw(size // 2, streams.get('pool'))
            for pool, streams in zip(self.pools, self.streams)
        ]
        images_BCHW, logits_BK = zip(*drawn)
        return torch.cat(images_BCHW), \
            None if logits_BK[0] is None else torch.cat(logits_BK)


def built(type: str, batch_size: int) -> BaseDFKD:
    """With weights that are always the same."""
    torch.manual_seed(0)
    changes: dict[str, Any] = dict(COMPARED[type])
    if type == 'DeepInversion':
        changes['generator'] = dict(
            type='PixelGenerator',
            batch_size=2 * BATCH_SIZE,
            image_size=8,
            image_channels=1)
    model = make_algorithm(type, batch_size=batch_size, **changes)
    if type == 'DeepInversion':
        pixels = model.generator.variables_BCHW
        model.generator.variables_BCHW = nn.Parameter(pixels[:batch_size])
    return model


def draw_like_two_processes(model: BaseDFKD) -> None:
    """Let one process draw the numbers that two would draw."""
    seed = model.streams.seed
    streams = [RandomStreams(seed, rank) for rank in (0, 1)]

    def halves(draw: Callable[..., Tensor],
               purpose: str) -> Callable[..., Tensor]:
        return lambda size, _: torch.cat(
            [draw(size // 2, one.get(purpose)) for one in streams])

    model.sample_latents = halves(model.sample_latents, 'latents')
    model.sample_labels = halves(model.sample_labels, 'labels')
    for name, purpose in (('augment', 'augmentation'),
                          ('synthesis_augment', 'synthesis_augmentation')):
        if getattr(model, name, None) is not None:
            setattr(model, name,
                    Halves(getattr(model, name), purpose, streams))
    if hasattr(model, 'pool'):
        model.pool = Pools(model.pool, streams)
    if hasattr(model.generator, 'variables_BCHW'):
        pixels = model.generator.variables_BCHW

        def reset(_: torch.Generator) -> None:
            shape = (len(pixels) // 2, *pixels.shape[1:])
            pixels.data.copy_(
                torch.cat([
                    torch.randn(shape, generator=one.get('pixels'))
                    for one in streams
                ]))

        model.generator.reset = reset


def trained(model: nn.Module) -> dict[str, Any]:
    """Losses of every iteration, and the networks at the end."""
    bare = unwrapped(model)
    # Small, because these networks are chaotic: with 1e-3 a difference of
    # rounding grows about tenfold in each iteration.
    wrappers = optimisers(bare, lr=LEARNING_RATE)
    begin = copied(bare)
    losses = [
        model.train_step(real_batch(), wrappers) for _ in range(NUM_ITERATIONS)
    ]
    return dict(
        losses=losses,
        networks=copied(bare),
        begin=begin,
        queue=len(bare.queue),
        counters=bare.counters.state_dict())


def copied(model: nn.Module) -> dict[str, Tensor]:
    """The state dict as it is now."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def of_one_process(type: str) -> dict[str, Any]:
    """A run of one process with the batch of both."""
    model = built(type, 2 * BATCH_SIZE)
    draw_like_two_processes(model)
    return trained(model)
