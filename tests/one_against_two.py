"""One process with a batch of 2B against two processes with B each."""
from contextlib import nullcontext
from typing import Any

import torch
from algorithm_helpers import make_algorithm, optimisers, real_batch
from mmengine.dist import get_rank, get_world_size
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from two_processes import in_two_processes

from tadfkd.algorithms import BaseDFKD
from tadfkd.distributed import DistributedNetworks
from tadfkd.utils.randomness import RandomStreams

NUM_ITERATIONS = 3
#: Images per step and process.
BATCH_SIZE = 8
LEARNING_RATE = 1e-5
_SELECTION = dict(
    selector=dict(type='GMMSelector'),
    augment=dict(type='RandomCropFlip', padding=1))
_ALTERNATING = _SELECTION | dict(select_on='augmented')
#: Arguments of the algorithms that are compared, beside those of
#: ``make_algorithm``.
COMPARED: dict[str, dict[str, Any]] = dict(
    TADFKD=_ALTERNATING | dict(
        num_student_steps=2,
        class_prior=dict(
            type='ClassPrior', one_hot=1.0, balance=5.0, activation=0.1),
        image_losses=dict(
            l2=dict(type='ImageL2Loss'),
            tv=dict(type='TotalVariationLoss', over='batch'),
            pixels=dict(type='PixelStatisticsLoss'))),
    DFAD=_ALTERNATING,
    DFQ=_ALTERNATING
    | dict(selector=dict(type='TopFractionSelector', fraction=0.8)),
    DAFL=_SELECTION,
    ZSKT=_SELECTION | dict(num_student_steps=2),
    MAD=_ALTERNATING,
    DeepInversion=dict(
        generator=dict(
            type='PixelGenerator',
            batch_size=2 * BATCH_SIZE,
            image_size=8,
            image_channels=1)),
    # Adam takes whole steps along a gradient that is 0 but for rounding.
    FastDFKD=dict(
        augment=dict(type='RandomCropFlip', padding=1),
        inner_lr=1e-5,
        latent_lr=1e-4))


class DrawsOfTwo(TorchFunctionMode):
    """One process draws the random numbers that two processes would draw.

    The first half of each draw is from the stream of rank 0, the second half
    from that of rank 1.

    Args:
        streams: Of the model in the one process, which has rank 0.
    """

    def __init__(self, streams: RandomStreams) -> None:
        super().__init__()
        self.both = (streams, RandomStreams(streams.seed, 1))

    def __torch_function__(self,
                           func: Any,
                           types: Any,
                           args: Any = (),
                           kwargs: Any = None) -> Any:
        """Halve the first dimension of a draw."""
        kwargs = kwargs or {}
        names = {id(own): name for name, own in self.both[0]._streams.items()}
        purpose = names.get(id(kwargs.get('generator')))
        if purpose is None or args[-1] == ():
            return func(*args, **kwargs)
        *bounds, shape = args if isinstance(args[-1], tuple) else (args, )
        if purpose == 'pool':
            bounds = [bounds[0] // 2]
        halves = [
            func(*bounds, (shape[0] // 2, *shape[1:]),
                 **kwargs | dict(generator=streams.get(purpose)))
            for streams in self.both
        ]
        if purpose == 'pool':
            # Each process has its own pool. In that of one process the images
            # of both lie side by side, step by step.
            halves = [
                place + (place // BATCH_SIZE + rank) * BATCH_SIZE
                for rank, place in enumerate(halves)
            ]
        return torch.cat(halves)


def run(type: str, dtype: str, onednn: bool = True) -> dict[str, Any]:
    """Train in this process, or in each of two.

    Args:
        type: A key of ``COMPARED``.
        dtype: Of the whole model, ``'float32'`` or ``'float64'``.
        onednn: Whether the convolutions of the steps may use oneDNN.

    Returns:
        ``losses``: those of each iteration; ``changes``: what training changed
        in each network and its statistics; ``counts``: numbers that add up
        over processes; ``queued``: images that wait for a later step.
    """
    default = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    torch.manual_seed(0)
    size = 2 * BATCH_SIZE // get_world_size()
    changes = dict(COMPARED[type])
    if type in ('DeepInversion', 'FastDFKD'):
        changes |= dict(
            synthesis_batch_size=size,
            pool=dict(capacity=NUM_ITERATIONS * size))
    try:
        model = make_algorithm(type, batch_size=size, **changes)
        if type == 'DeepInversion':
            # The images of a process are its weights.
            pixels = model.generator.variables_BCHW.split(size)[get_rank()]
            model.generator.variables_BCHW = nn.Parameter(pixels.data.clone())
        with torch.backends.mkldnn.flags(enabled=onednn):
            return _trained(model)
    finally:
        torch.set_default_dtype(default)


def _trained(bare: BaseDFKD) -> dict[str, Any]:
    one = get_world_size() == 1
    model: Any = bare if one else DistributedNetworks(bare)
    before = _floating(bare)
    wrappers = optimisers(bare, lr=LEARNING_RATE)
    with DrawsOfTwo(bare.streams) if one else nullcontext():
        losses = [
            model.train_step(real_batch(), wrappers)
            for _ in range(NUM_ITERATIONS)
        ]
    counters = bare.counters
    return dict(
        losses=losses,
        changes={
            name: value - before[name]
            for name, value in _floating(bare).items()
        },
        counts=[counters.images_generated, counters.images_selected],
        queued=len(bare.candidates.queue))


def _floating(model: nn.Module) -> dict[str, Tensor]:
    return {
        name: value.clone()
        for name, value in model.state_dict().items()
        if value.is_floating_point()
    }


def two_as_one(type: str, dtype: str) -> dict[str, Any]:
    """The results of :func:`run` in two processes, as if it were one."""
    first, second = in_two_processes(run, type, dtype)
    for name, change in second['changes'].items():
        if type == 'DeepInversion' and name.startswith('generator.'):
            first['changes'][name] = torch.cat(
                (first['changes'][name], change))
    first['counts'] = [
        sum(pair) for pair in zip(first['counts'], second['counts'])
    ]
    return first


def differences(found: dict[str, Any],
                expected: dict[str, Any]) -> dict[str, float]:
    """Relative differences of two results of :func:`run`: of each loss in
    each iteration, and of what each network has learned, as a vector."""
    pairs = {
        f'{name} of iteration {number}': (losses[name], value)
        for number, losses in enumerate(found['losses'], 1)
        for name, value in expected['losses'][number - 1].items()
    }
    for network in ('student', 'generator'):
        pairs[f'change of the {network}'] = tuple(
            torch.cat([
                change.flatten() for name, change in run['changes'].items()
                if name.startswith(network)
            ]) for run in (found, expected))
    return {
        name:
        float((one - other).norm() /
              other.norm()) if other.any() else float(one.norm())
        for name, (one, other) in pairs.items()
    }
