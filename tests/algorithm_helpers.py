"""What the tests of all algorithms share."""
import functools
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.optim import OptimWrapperDict
from mmengine.registry import init_default_scope
from tiny_networks import classifier
from torch import Tensor, nn

from tadfkd.algorithms import BaseDFKD
from tadfkd.apis import load_config
from tadfkd.engine import PerNetworkConstructor
from tadfkd.evaluation import calibrate_batch_norm
from tadfkd.registry import MODELS, SELECTORS
from tadfkd.selectors import BaseSelector

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
DIGITS = 'resnet18w16_to_resnet18w8_digits'
NUM_CLASSES = 5

#: Every algorithm by its registered name.
ALGORITHMS = ('ADI', 'AgnosticDFKD', 'CMI', 'DAFL', 'DFAD', 'DFQ',
              'DeepInversion', 'FastDFKD', 'KAKR', 'MAD', 'NAYER', 'PREDFKD',
              'RandomNoiseKD', 'SpaceshipNet', 'TADFKD', 'VanillaKD', 'ZSKT')
#: Those that fill a pool by syntheses.
INVERTING = ('ADI', 'AgnosticDFKD', 'CMI', 'DeepInversion', 'FastDFKD',
             'NAYER', 'SpaceshipNet')

PROCEDURAL = dict(
    families=[dict(type='Blobs'), dict(type='DeadLeaves')],
    size=16,
    num_candidates=32,
    alone=0.0)
#: In place of the numbers of a config, where it has them.
_SMALL: dict[str, Any] = dict(
    batch_size=8,
    num_student_steps=1,
    warmup_iterations=0,
    num_syntheses=1,
    num_warmup_syntheses=1,
    pool=dict(capacity=24),
    bank_capacity=24,
    embedding_size=4,
    num_negatives=6,
    synthesis_batch_size=10,
    replay_batch_size=4,
    num_replay_steps=1,
    num_first_syntheses=1,
    num_further_images=6,
    procedural=PROCEDURAL)
#: Iterations of a run, where an algorithm asks.
NUM_ITERATIONS = 100
BUFFER = dict(type='BufferReplay', num_batches=2, batch_size=4)


@SELECTORS.register_module()
class KeepEvery(BaseSelector):
    """Keeps every n-th candidate: a selection that a test can count."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def judge(self, logits_BK: Tensor, finite_B: Tensor,
              labels_B: Tensor | None) -> tuple[Tensor, Tensor]:
        """See the base class."""
        index_B = torch.arange(len(logits_BK))
        return index_B.float(), index_B % self.n == 0


def config_folder(type: str) -> Path:
    """Where the configs of an algorithm are: under its class in lower case."""
    return CONFIGS / dict(AgnosticDFKD='agnostic').get(type, type.lower())


@functools.cache
def _leaf(type: str, leaf: str) -> dict[str, Any]:
    """The ``model`` of a shipped config."""
    return load_config(config_folder(type) / f'{leaf}.py').model.to_dict()


def make_algorithm(type: str, leaf: str = DIGITS, **changes: Any) -> Any:
    """The algorithm of a shipped config with tiny networks, in training mode.

    The losses, their weights and the selector are those of the config.
    Teacher and student have different weights, and their answers differ from
    image to image. Images have 5 classes, one channel, and 8 pixels per side
    (16 where class activation maps are needed); a batch has 8 images.

    Args:
        type: The registered name.
        leaf: Name of the config in the folder of the algorithm.
        **changes: Arguments of the model, in place of those here.
    """
    config = _leaf(type, leaf)
    init_default_scope('tadfkd')
    # At 8 pixels the last map of a ResNet is a single pixel.
    size = 16 if type == 'SpaceshipNet' else 8
    config = config | {
        name: value
        for name, value in _SMALL.items() if name in config
    } | dict(
        teacher=tiny_teacher(classifier(NUM_CLASSES), size),
        student=classifier(NUM_CLASSES),
        generator=_generator(type, size))
    if type in INVERTING:
        config['num_generator_steps'] = 2
    if config.get('replay', {}).get('type') == 'BufferReplay':
        config['replay'] = BUFFER
    elif 'replay' in config:
        config['replay'] = config['replay'] | dict(
            autoencoder=dict(
                type='VariationalAutoencoder',
                width=4,
                decoder=_generator('', size)))
    model = MODELS.build(config | changes)
    # Without this a network of random weights says the same of all images.
    for layer in filter(None, map(_last_layer, _classifiers(model).values())):
        nn.init.normal_(layer.weight)
    if _last_layer(getattr(model.teacher, 'network', None)):
        calibrate_batch_norm(
            model.teacher,
            torch.rand(32, model.generator.image_channels,
                       *model.generator.image_size))
    if model.teacher is not None:
        model.begin_training(NUM_ITERATIONS)
    return model.train()


def _classifiers(model: Any) -> dict[str, Any]:
    networks = dict(student=model.student)
    if model.teacher is not None:
        networks['teacher'] = model.teacher.network
    return networks


def _last_layer(network: Any) -> Any:
    """That of a tiny network, or None."""
    layer = getattr(getattr(network, 'head', None), 'fc', None)
    return layer if isinstance(layer, nn.Linear) else None


def tiny_teacher(model: dict, input_size: int = 8) -> dict[str, Any]:
    """The config of a teacher with random weights."""
    return dict(
        type='MMPretrainTeacher',
        model=model,
        input_size=input_size,
        allow_random_weights=True)


def _generator(type: str, size: int) -> dict[str, Any]:
    images = dict(image_size=size, image_channels=1)
    if type in ('ADI', 'DeepInversion'):
        return dict(type='PixelGenerator', batch_size=8, **images)
    if type in ('RandomNoiseKD', 'VanillaKD'):
        return dict(type='NoiseGenerator', **images)
    network = dict(latent_size=6, width=4, **images)
    if type == 'NAYER':
        return dict(
            type='LabelEmbeddingGenerator',
            num_classes=NUM_CLASSES,
            num_noisy_layers=2,
            embedding_size=6,
            **network)
    if type == 'AgnosticDFKD':
        return dict(
            type='ConditionalGenerator', num_classes=NUM_CLASSES, **network)
    return dict(type='UpsamplingGenerator', **network)


#: A generator that is told the class of each image.
CONDITIONAL = _generator('', 8) | dict(
    type='ConditionalGenerator', num_classes=NUM_CLASSES)


def optimisers(model: BaseDFKD,
               lr: float = 1e-3,
               optimizer: str = 'SGD',
               **wrapper: Any) -> OptimWrapperDict:
    """For each network that is trained; plain SGD has no state.

    Args:
        model: The algorithm.
        lr: Learning rate.
        optimizer: Its class.
        **wrapper: Other arguments of the optimiser wrappers.
    """
    return PerNetworkConstructor({
        name:
        dict(type='OptimWrapper', optimizer=dict(type=optimizer, lr=lr))
        | wrapper
        for name in model.trained_networks
    })(
        model)


def real_batch(size: int = 8) -> dict[str, list]:
    """What a dataloader gives to ``train_step``: pixels from 0 to 255, which
    only :class:`VanillaKD` reads."""
    return dict(
        inputs=list(
            torch.randint(
                256, (size, 1, 8, 8),
                generator=torch.Generator().manual_seed(size)).byte()))


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers, copied."""
    return {
        name: value.detach().clone()
        for name, value in (*module.named_parameters(),
                            *module.named_buffers())
    }


def assert_unchanged(module: nn.Module, before: dict[str, Tensor]) -> None:
    """Bit for bit."""
    after = snapshot(module)
    changed = [name for name in before if not after[name].equal(before[name])]
    assert changed == []


def assert_changed(module: nn.Module, before: dict[str, Tensor]) -> None:
    """At least one parameter: buffers move without training too."""
    assert any(not value.equal(before[name])
               for name, value in module.named_parameters())


def as_set(*images_BCHW: Tensor) -> set[bytes]:
    """To look images up bit for bit."""
    return {
        image.numpy().tobytes()
        for batch in images_BCHW
        for image in batch
    }


@dataclass
class Call:
    """One forward of a network.

    Attributes:
        network: ``'teacher'``, ``'student'`` or another name.
        images_BCHW: What teacher and student see, in [0, 1]; what any other
            network makes.
        training: Whether the network was in training mode.
        graph: Whether gradients were recorded.
        inputs: All positional arguments.
        latents_BZ: The first of them, copied.
        logits_BK: The answer of teacher and student, in float64.
    """

    network: str
    images_BCHW: Tensor
    training: bool
    graph: bool
    inputs: tuple
    latents_BZ: Any
    logits_BK: np.ndarray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class OptimiserStep:
    """An optimiser is about to step.

    Attributes:
        network: Whose optimiser it is.
        gradients: For each network that has gradients, zero or not, their
            norm.
    """

    network: str
    gradients: dict[str, float]


@dataclass
class Iteration:
    """What happened in one call of ``train_step``."""

    losses: dict[str, float]
    calls: list[Call]
    steps: list[OptimiserStep]

    def of(self, network: str, **conditions: bool) -> list[Call]:
        """The forwards of a network, in order.

        Args:
            network: Its name.
            **conditions: Attributes of :class:`Call`.
        """
        return [
            call for call in self.calls if call.network == network and all(
                getattr(call, name) == value
                for name, value in conditions.items())
        ]

    @property
    def made(self) -> list[Tensor]:
        """The images of each forward of the generator."""
        return [call.images_BCHW for call in self.of('generator')]

    def latents(self) -> list[Tensor]:
        """Copies of what the generator was given, for each forward."""
        return [call.latents_BZ for call in self.of('generator')]

    def labels(self) -> list[int]:
        """Classes that the last forward of the generator was asked for."""
        return self.of('generator')[-1].inputs[1].tolist()

    @property
    def order(self) -> list[str]:
        """The network of each optimiser step."""
        return [step.network for step in self.steps]

    def assert_losses(self, **networks: dict[str, float]) -> None:
        """The losses are those expected, and so are their sums.

        Args:
            **networks: For each network the expected terms.
        """
        expected = {}
        for network, terms in networks.items():
            for name, value in (terms
                                | dict(total=sum(terms.values()))).items():
                expected[f'{network}_{name}'] = pytest.approx(
                    value, rel=2e-3, abs=1e-5)
        assert self.losses == expected


def one_iteration(model: Any,
                  wrappers: OptimWrapperDict | None = None,
                  also: tuple[str, ...] = (),
                  data: Any = None) -> Iteration:
    """Call ``train_step`` once and record what happens.

    Args:
        model: The algorithm.
        wrappers: Optimisers; None takes plain SGD.
        also: Names of submodules whose output is recorded as well.
        data: What ``train_step`` is given.
    """
    wrappers = wrappers or optimisers(model)
    with watch(model, *also) as calls:
        steps, handles = _record_gradients(model, wrappers)
        losses = model.train_step(data, wrappers)
    for handle in handles:
        handle.remove()
    assert not any(value.requires_grad for value in losses.values())
    return Iteration({
        name: value.item()
        for name, value in losses.items()
    }, calls, steps)


@contextmanager
def watch(model: Any, *also: str) -> Iterator[list[Call]]:
    """Record the forwards of teacher, student and generator.

    Args:
        model: The algorithm.
        *also: Names of other submodules whose output is recorded.
    """
    calls: list[Call] = []

    def record(name: str, module: nn.Module, images: Tensor,
               inputs: tuple) -> None:
        calls.append(
            Call(name,
                 images.detach().clone(), module.training,
                 torch.is_grad_enabled(), inputs,
                 None if inputs[0] is None else inputs[0].detach().clone()))

    def answered(_: Any, inputs: tuple, logits_BK: Tensor) -> None:
        calls[-1].logits_BK = logits_BK.detach().double().numpy()

    entrances = dict(teacher=model.teacher, student=model.student_input)
    handles = []
    for name, network in _classifiers(model).items():
        handles.append(entrances[name].register_forward_pre_hook(
            lambda _, inputs, name=name, network=network: record(
                name, network, inputs[0], inputs)))
        if _last_layer(network):
            handles.append(
                _last_layer(network).register_forward_hook(answered))
    for name in ('generator', *also):
        handles.append(
            model.get_submodule(name).register_forward_hook(
                lambda module, inputs, images, name=name: record(
                    name, module, images, inputs)))
    yield calls
    for handle in handles:
        handle.remove()


def _record_gradients(model: Any,
                      wrappers: OptimWrapperDict) -> tuple[list, list]:
    steps: list[OptimiserStep] = []

    def record(network: str) -> None:
        found = {
            name: gradient_norm(child)
            for name, child in model.named_children() if has_gradient(child)
        }
        steps.append(OptimiserStep(network, found))

    handles = [
        wrapper.optimizer.register_step_pre_hook(
            lambda *_, name=name: record(name))
        for name, wrapper in wrappers.items()
    ]
    return steps, handles


def has_gradient(module: nn.Module) -> bool:
    """Whether any parameter has one, be it zero."""
    return any(parameter.grad is not None for parameter in module.parameters())


def gradient_norm(module: nn.Module) -> float:
    """Of all parameters' gradients together."""
    return float(
        sum(parameter.grad.double().square().sum()
            for parameter in module.parameters()
            if parameter.grad is not None))**0.5


def shrinking_options(type: str, checkpoint: str) -> dict[str, Any]:
    """Dotted options that make a digits config of an algorithm run for three
    short iterations.

    Args:
        type: The registered name.
        checkpoint: The teacher's, of the fixture ``tiny_teacher_checkpoint``.
    """
    leaf = _leaf(type, DIGITS)
    small = dict(_SMALL, num_student_steps=2, num_generator_steps=2)
    if type not in INVERTING:
        del small['num_generator_steps']
    # The warm-up of FastDFKD ends within the run.
    small['warmup_iterations'] = min(1, leaf.get('warmup_iterations', 0))
    merged: dict[str, Any] = {
        f'model.{name}': value
        for name, value in small.items() if name in leaf
    } | {
        f'model.generator.{name}': value
        for name, value in dict(
            latent_size=16, width=4, batch_size=8, num_noisy_layers=1).items()
        if name in leaf['generator']
    } | {
        f'{network}.{name}': value
        for network in ('model.teacher.model', 'model.student')
        for name, value in {
            'backbone.base_channels': 4,
            'backbone.stem_channels': 4,
            'head.in_channels': 32
        }.items()
    } | {
        'model.teacher.checkpoint': checkpoint,
        'train_cfg.max_epochs': 1,
        'default_hooks.logger.interval': 1,
        'default_hooks.samples.num_images': 8,
        'default_hooks.summary.num_images': 8
    }
    if type == 'KAKR':
        merged |= {'model.replay.batch_size': 4, 'model.replay.interval': 1}
    if type == 'PREDFKD':
        merged |= {
            'model.replay.autoencoder.width': 4,
            'model.replay.autoencoder.decoder.width': 4,
            'model.replay.autoencoder.decoder.latent_size': 8
        }
    if type == 'VanillaKD':
        # Of 1198 digits.
        return merged | {'train_dataloader.batch_size': 400}
    return merged | {'train_dataloader.dataset.num_steps': 3}


def continues_exactly(type: str, num_steps: int = 1, **changes: Any) -> None:
    """A run that is saved, and loaded with another seed, goes on bit by bit.

    Losses, weights, buffers and training state after the next iteration are
    compared with those of the run that was not interrupted. The state passes
    a file that holds nothing but plain values and tensors.

    Args:
        type: The registered name.
        num_steps: Iterations before the state is saved.
        **changes: Arguments of the model, as of :func:`make_algorithm`.
    """
    model = make_algorithm(type, **changes)
    wrappers = optimisers(model)
    for _ in range(num_steps):
        model.train_step(real_batch(), wrappers)
    file = io.BytesIO()
    torch.save(
        dict(
            weights=model.state_dict(),
            state=model.training_state(),
            optimisers=wrappers.state_dict()), file)
    expected = model.train_step(real_batch(), wrappers)

    torch.manual_seed(99)
    other = make_algorithm(type, **changes)
    # It is not in the state: a run loads it from its own checkpoint.
    other.teacher.load_state_dict(model.teacher.state_dict())
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    other.load_state_dict(saved['weights'])
    other.load_training_state(saved['state'])
    if other.teacher is not None:
        other.begin_training(NUM_ITERATIONS)
    other_wrappers = optimisers(other)
    other_wrappers.load_state_dict(saved['optimisers'])
    got = other.train_step(real_batch(), other_wrappers)

    assert_identical(got, expected)
    assert_unchanged(other, snapshot(model))
    assert_identical(other.training_state(), model.training_state())
    assert_identical(other_wrappers.state_dict(), wrappers.state_dict())


def assert_identical(got: Any, expected: Any, where: str = '') -> None:
    """Nested dictionaries and lists of tensors and plain values, bit by
    bit."""
    if isinstance(expected, dict):
        assert got.keys() == expected.keys(), where
        for key in expected:
            assert_identical(got[key], expected[key], f'{where}.{key}')
    elif isinstance(expected, list | tuple):
        assert len(got) == len(expected), where
        for index, value in enumerate(expected):
            assert_identical(got[index], value, f'{where}[{index}]')
    elif isinstance(expected, Tensor):
        assert torch.equal(got, expected), where
    else:
        assert got == expected, where
