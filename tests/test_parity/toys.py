"""Algorithms with networks that give what an entry prescribes."""
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from test_parity.harness import Inputs
from torch import Tensor, nn

from tadfkd.apis import load_config
from tadfkd.classifiers.input_adapter import InputAdapter
from tadfkd.registry import MODELS
from tadfkd.teachers import ModuleTeacher

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
SMALL_GENERATOR = dict(type='UpsamplingGenerator', latent_size=4, width=1)


@functools.cache
def shipped_model(leaf: str) -> dict[str, Any]:
    """The ``model`` of a shipped config, for example
    ``'dafl/resnet34_to_resnet18_cifar10'``."""
    return load_config(CONFIGS / f'{leaf}.py').model.to_dict()


def algorithm(leaf: str,
              teacher: nn.Module,
              student: nn.Module,
              image_shape: Sequence[int],
              generator: dict[str, Any] | None = None,
              **changes: Any) -> Any:
    """The algorithm of a shipped config with other networks, in float64.

    Losses, their weights and the schedule are those of the config. Teacher
    and student see images as they are, without normalisation, and nothing is
    augmented.

    Args:
        leaf: See :func:`shipped_model`.
        teacher: Maps images to logits.
        student: Likewise; see :class:`Student`.
        image_shape: Channels, height and width.
        generator: A generator, without the size of its images.
        **changes: Arguments of the model, in place of the config's.
    """
    channels, *size = image_shape
    config = shipped_model(leaf) | dict(
        teacher=ModuleTeacher(
            lambda: teacher,
            mean=[0.0],
            std=[255.0],
            num_channels=channels,
            input_size=tuple(size)),
        student={},
        generator=(generator or SMALL_GENERATOR)
        | dict(image_size=tuple(size), image_channels=channels),
        data_preprocessor=None,
        augment=None)
    if 'synthesis_augment' in config:
        config['synthesis_augment'] = None
    # mmpretrain, which would build the student, takes 10 s to import.
    with mock.patch(
            'tadfkd.algorithms.base.build_student',
            return_value=(student, InputAdapter([0.0], [255.0]), None)):
        return MODELS.build(config | changes).double().train()


class Student(nn.Module):
    """A network with the arguments of a student."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images_BCHW: Tensor, mode: str = 'tensor') -> Tensor:
        """The logits."""
        return self.network(images_BCHW)


class Function(nn.Module):
    """A function in the place of a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *arguments: Any) -> Any:
        """What the function returns."""
        return self.function(*arguments)


class Pack:
    """Tensors that lie in images, one after the other.

    Args:
        **parts: Tensors of B rows, by name.
    """

    def __init__(self, **parts: Tensor) -> None:
        self.shapes = {name: part.shape[1:] for name, part in parts.items()}
        # The size of an image is divisible by 4 and at least 8.
        length = sum(map(math.prod, self.shapes.values()))
        self.image_shape = (1, 8, max(8, 4 * math.ceil(length / 32)))
        self.images_BCHW = self.images(**parts)

    def images(self, **parts: Tensor) -> Tensor:
        """Images that hold other tensors of the same shapes."""
        rows = torch.cat([parts[name].flatten(1) for name in self.shapes], 1)
        padding = math.prod(self.image_shape) - rows.shape[1]
        return nn.functional.pad(rows,
                                 (0, padding)).view(-1, *self.image_shape)

    def read(self, images_BCHW: Tensor, name: str) -> Tensor:
        """The part of that name."""
        start = 0
        for other, shape in self.shapes.items():
            if other == name:
                rows = images_BCHW.flatten(1)
                return rows[:, start:start + math.prod(shape)].unflatten(
                    1, shape)
            start += math.prod(shape)
        raise KeyError(name)


class Reader(nn.Module):
    """A classifier whose answers lie in the images.

    Args:
        pack: Of the images.
        logits: Name of the part that are its logits.
        features: Name of the part that enters the last linear layer, whose
            weights are 0.
        activations: Name of the part that enters a batch norm.
        running: Mean and variance of that batch norm.
        maps: Names of the parts that are feature maps.
    """

    def __init__(
        self,
        pack: Pack,
        logits: str,
        features: str | None = None,
        activations: str | None = None,
        running: tuple[Tensor, Tensor] | None = None,
        maps: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.pack, self.logits = pack, logits
        self.features, self.activations = features, activations
        self.maps = [*maps]
        # The device of a student is that of its parameters.
        self.unused = nn.Parameter(torch.zeros(1))
        self.image = nn.Identity()
        self.stages = nn.ModuleList(nn.Identity() for _ in maps)
        if features is not None:
            self.head = nn.Linear(pack.shapes[features].numel(),
                                  pack.shapes[logits].numel())
            for weight in self.head.parameters():
                nn.init.zeros_(weight)
        if running is not None:
            self.norm = batch_norm(*running)

    def forward(self, images_BCHW: Tensor, mode: str = 'tensor') -> Tensor:
        """The logits."""
        images_BCHW = self.image(images_BCHW)
        for name, stage in zip(self.maps, self.stages):
            stage(self.pack.read(images_BCHW, name))
        if self.activations is not None:
            self.norm(self.pack.read(images_BCHW, self.activations))
        logits_BK = self.pack.read(images_BCHW, self.logits)
        if self.features is not None:
            logits_BK = logits_BK + self.head(
                self.pack.read(images_BCHW, self.features))
        return logits_BK


def batch_norm(running_mean: Tensor, running_var: Tensor) -> nn.BatchNorm2d:
    """A batch norm of these statistics."""
    norm = nn.BatchNorm2d(len(running_mean))
    norm.running_mean.copy_(running_mean.detach())
    norm.running_var.copy_(running_var.detach())
    return norm


def linear(weight: Tensor) -> nn.Linear:
    """A linear layer without bias, of this weight."""
    layer = nn.Linear(*reversed(weight.shape), bias=False)
    layer.weight = nn.Parameter(weight.detach().float())
    return layer


def held(x: Inputs, weight: str, bias: str | None = None) -> nn.Linear:
    """A linear layer whose parameters replace the inputs of these names."""
    layer = linear(getattr(x, weight))
    setattr(x, weight, layer.weight)
    if bias is not None:
        layer.bias = nn.Parameter(getattr(x, bias).detach().float())
        setattr(x, bias, layer.bias)
    return layer


class Wrapper:
    """An optimiser wrapper that computes gradients and never steps."""

    def __init__(self) -> None:
        self.optimizer = SimpleNamespace(state={}, param_groups=[])

    def optim_context(self, network: nn.Module) -> Any:
        """Nothing."""
        return nullcontext()

    def update_params(self, loss: Tensor) -> None:
        """The gradients stay where they are."""
        self.backward(loss)

    def backward(self, loss: Tensor) -> None:
        """Add to the gradients."""
        if loss.requires_grad:
            loss.backward()

    def approves(self, *_: Any) -> bool:
        """Every step."""
        return True

    def add_loss(self, loss: Tensor) -> None:
        """Nothing."""

    step = zero_grad = lambda self: None


@contextmanager
def draws(model: Any, **rows: Tensor) -> Iterator[None]:
    """Within the block, normal numbers are given.

    Args:
        model: The algorithm whose streams draw.
        **rows: By the purpose of a stream, what it draws; the first rows if
            fewer are asked for.
    """
    streams = {
        id(model.streams.get(purpose)): values.detach()
        for purpose, values in rows.items()
    }

    def randn(*size: Any, generator: torch.Generator, **_: Any) -> Tensor:
        count = size[0] if isinstance(size[0], int) else size[0][0]
        return streams[id(generator)][:count].clone()

    with mock.patch('torch.randn', randn):
        yield
