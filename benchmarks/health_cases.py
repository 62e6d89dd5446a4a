"""Distillations that are broken on purpose, and healthy ones."""
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from tadfkd.algorithms import DFQ
from tadfkd.algorithms.base import Losses
from tadfkd.registry import HOOKS, MODELS
from tadfkd.structures import SyntheticBatch

#: TA-DFKD's config has another batch size than the other configs.
BATCH = {'model.batch_size': 64}


@MODELS.register_module()
class OneClassDFQ(DFQ):
    """A DFQ whose generator learns to make one class.

    ::

        generator:  CE(T(x), 3)
    """

    def generator_losses(self, selected: SyntheticBatch) -> Losses:
        """Cross-entropy with one label."""
        logits_BK = self.teacher(selected.views_BCHW).logits_BK
        labels_B = logits_BK.new_full((len(selected), ), 3).long()
        return dict(one_class=nn.functional.cross_entropy(logits_BK, labels_B))


@MODELS.register_module()
class Blackout(nn.Module):
    """An augmentation that makes every image black."""

    def forward(self, images_BCHW: Tensor, stream: torch.Generator) -> Tensor:
        """Set all pixels to 0."""
        return images_BCHW * 0


@HOOKS.register_module()
class BreakNetwork(Hook):
    """Overwrites the last layer of a network at the start of an epoch.

    Args:
        network: Name of the network in the model.
        weight: New value of all weights.
        bias: New value of all biases, or of the first bias only.
        first_alone: Whether only the first bias is set; the others become 0.
        epoch: Number of the epoch, from 1.
        hold: Whether the layer is frozen from then on.
    """

    def __init__(self,
                 network: str,
                 weight: float = 0.0,
                 bias: float = 0.0,
                 first_alone: bool = False,
                 epoch: int = 1,
                 hold: bool = False) -> None:
        self.network = network
        self.weight = weight
        self.bias = bias
        self.first_alone = first_alone
        self.epoch = epoch
        self.hold = hold

    def before_train_epoch(self, runner: Runner) -> None:
        """Overwrite the layer."""
        if runner.epoch + 1 != self.epoch:
            return
        *_, last = (
            layer for layer in getattr(runner.model, self.network).modules()
            if isinstance(layer, nn.Linear | nn.Conv2d))
        nn.init.constant_(last.weight, self.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        last.bias.data[:1 if self.first_alone else None] = self.bias
        if self.hold:
            last.requires_grad_(False)


@dataclass(frozen=True)
class Case:
    """One run.

    Attributes:
        name: What is wrong with the run, or its algorithm.
        algorithm: Folder of the config.
        seed: Seed of the run.
        options: Dotted keys and values.
        hook: Config of a hook that breaks the run, or None.
    """

    name: str
    algorithm: str
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    hook: dict[str, Any] | None = None


def _break(network: str, **how: Any) -> dict[str, Any]:
    return dict(type='BreakNetwork', network=network, **how)


BROKEN = (
    Case('dead generator', 'dfq', hook=_break('generator', hold=True)),
    Case(
        'generator saturated, rate 0',
        'tadfkd',
        options=BATCH | {'optim_wrapper.generator.optimizer.lr': 0.0},
        hook=_break('generator', bias=50.0)),
    Case(
        'student rate 1e4',
        'dfq',
        options={'optim_wrapper.student.optimizer.lr': 1e4}),
    Case(
        'generator rate 100',
        'tadfkd',
        options=BATCH | {'optim_wrapper.generator.optimizer.lr': 100.0}),
    Case('one class', 'dfq', options={'model.type': 'OneClassDFQ'}),
    Case(
        'teacher answers nan from epoch 3',
        'dfad',
        hook=_break('teacher', bias=float('nan'), epoch=3)),
    Case(
        'teacher says one class',
        'cmi',
        hook=_break('teacher', bias=20.0, first_alone=True)),
    Case(
        'selector keeps 1 of 64',
        'dafl',
        options={
            'model.selector': dict(type='TopFractionSelector', fraction=0.01)
        }),
    Case(
        'student rate 0',
        'kakr',
        options={'optim_wrapper.student.optimizer.lr': 0.0}),
    Case(
        'augmentation blacks out',
        'zskt',
        options={'model.augment': dict(type='Blackout')}),
)
HEALTHY = (
    Case('TA-DFKD', 'tadfkd', options=BATCH),
    Case('TA-DFKD', 'tadfkd', seed=1, options=BATCH),
    Case('DFQ', 'dfq', seed=1),
    Case('CMI', 'cmi'),
    Case('Fast-DFKD', 'fastdfkd', seed=1),
    Case('NAYER', 'nayer'),
    Case('DAFL', 'dafl', seed=1),
    Case('DFAD', 'dfad', seed=1),
    Case('ZSKT', 'zskt', seed=1),
    Case('KAKR', 'kakr', seed=1),
)
CASES = dict(broken=BROKEN, healthy=HEALTHY)
