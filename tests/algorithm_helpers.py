"""What the tests of all algorithms share."""
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmengine.optim import OptimWrapperDict
from mmengine.registry import init_default_scope
from tiny_networks import classifier
from torch import Tensor, nn

from tadfkd.algorithms import BaseDFKD
from tadfkd.apis import load_config, train
from tadfkd.checkpoints.reading import read_checkpoint
from tadfkd.engine import PerNetworkConstructor
from tadfkd.evaluation import calibrate_batch_norm
from tadfkd.registry import MODELS, SELECTORS
from tadfkd.selectors import BaseSelector

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
NUM_CLASSES = 5

#: Every algorithm by its registered name.
ALGORITHMS = ('ADI', 'CMI', 'DAFL', 'DFAD', 'DFQ', 'DeepInversion', 'FastDFKD',
              'KAKR', 'MAD', 'NAYER', 'PREDFKD', 'RandomNoiseKD',
              'SpaceshipNet', 'TADFKD', 'VanillaKD', 'ZSKT')

_INVERSION = dict(pool=dict(capacity=24), num_generator_steps=2)
_REPLAY = dict(replay_batch_size=4, num_replay_steps=1)
#: What an algorithm needs beside networks and a batch size, and what makes
#: its steps few.
_ARGUMENTS: dict[str, dict[str, Any]] = dict(
    ADI=_INVERSION,
    CMI=_INVERSION | dict(
        num_features=32, embedding_size=4, bank_capacity=24, num_negatives=6),
    DeepInversion=_INVERSION,
    FastDFKD=_INVERSION,
    KAKR=_REPLAY
    | dict(replay=dict(type='BufferReplay', num_batches=2, batch_size=4)),
    NAYER=_INVERSION | dict(synthesis_batch_size=10),
    SpaceshipNet=_INVERSION | dict(bank_capacity=24),
    VanillaKD=dict(
        data_preprocessor=dict(
            type='mmpretrain.ClsDataPreprocessor',
            mean=[0.0],
            std=[255.0],
            to_rgb=False)))


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


def make_algorithm(type: str, **changes: Any) -> BaseDFKD:
    """An algorithm with tiny networks, in training mode.

    Teacher and student are drawn apart, answer each image differently, and
    are of five classes and one channel; images have 8 pixels a side (16 where
    class activation maps are needed), a batch has 8 of them.

    Args:
        type: The registered name.
        **changes: Arguments of the model, in place of those here.
    """
    init_default_scope('tadfkd')
    # At 8 pixels the last map of a ResNet is a single pixel.
    size = 16 if type == 'SpaceshipNet' else 8
    config = dict(
        type=type,
        teacher=dict(
            type='MMPretrainTeacher',
            model=classifier(NUM_CLASSES),
            input_size=size,
            allow_random_weights=True),
        student=classifier(NUM_CLASSES),
        generator=_generator(type, size),
        batch_size=8) | _ARGUMENTS.get(type, {})
    if type == 'PREDFKD':
        config |= _REPLAY | dict(
            replay=dict(
                type='GenerativeReplay',
                autoencoder=dict(
                    type='VariationalAutoencoder',
                    width=4,
                    decoder=_generator('', size))))
    model: BaseDFKD = MODELS.build(config | changes)
    # Without this a network of random weights says the same of all images.
    nn.init.normal_(model.student.head.fc.weight)
    if model.teacher is not None:
        nn.init.normal_(model.teacher.network.head.fc.weight)
        channels = model.generator.image_channels
        calibrate_batch_norm(
            model.teacher, torch.rand(32, channels,
                                      *model.generator.image_size))
    return model.train()


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
    return dict(type='UpsamplingGenerator', **network)


def optimisers(model: BaseDFKD, lr: float = 1e-3) -> OptimWrapperDict:
    """Plain SGD, which has no state, for each network that is trained."""
    return PerNetworkConstructor({
        name:
        dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=lr))
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


@contextmanager
def count_forwards(model: BaseDFKD) -> Iterator[dict[str, list[int]]]:
    """Batch sizes of every forward of each network."""
    sizes: dict[str, list[int]] = dict(teacher=[], student=[], generator=[])
    handles = [
        getattr(model, name).register_forward_pre_hook(
            lambda _, inputs, name=name: sizes[name].append(len(inputs[0])))
        for name in sizes
    ]
    yield sizes
    for handle in handles:
        handle.remove()


@contextmanager
def record_images(model: BaseDFKD, *names:
                  str) -> Iterator[list[tuple[str, Tensor]]]:
    """What the generator makes, and what teacher and student are shown.

    Args:
        model: The algorithm.
        *names: Further networks whose output is recorded.
    """
    calls: list[tuple[str, Tensor]] = []
    handles = [
        module.register_forward_pre_hook(
            lambda _, inputs, name=name: calls.append((name, copy(inputs[0]))))
        for name, module in (('teacher', model.teacher),
                             ('student', model.student_input))
    ] + [
        model.get_submodule(name).register_forward_hook(
            lambda _, inputs, images_BCHW, name=name: calls.append(
                (name, copy(images_BCHW)))) for name in ('generator', *names)
    ]
    yield calls
    for handle in handles:
        handle.remove()


def copy(values: Tensor) -> Tensor:
    """Without graph."""
    return values.detach().clone()


@dataclass(frozen=True)
class OptimiserStep:
    """What was there when an optimiser was about to step.

    Attributes:
        network: Whose optimiser it is.
        gradients: For each network of the model of which any parameter has a
            gradient, zero or not, the norm of all of them.
    """

    network: str
    gradients: dict[str, float]


def record_gradients(model: BaseDFKD,
                     wrappers: OptimWrapperDict) -> list[OptimiserStep]:
    """Filled with the optimiser steps from now on, in their order."""
    steps: list[OptimiserStep] = []

    def record(network: str) -> None:
        found = {
            name: gradient_norm(child)
            for name, child in model.named_children() if has_gradient(child)
        }
        steps.append(OptimiserStep(network, found))

    for name, wrapper in wrappers.items():
        wrapper.optimizer.register_step_pre_hook(
            lambda *_, name=name: record(name))
    return steps


def has_gradient(module: nn.Module) -> bool:
    """Whether any parameter has one, be it zero."""
    return any(parameter.grad is not None for parameter in module.parameters())


def gradient_norm(module: nn.Module) -> float:
    """Of all parameters' gradients together."""
    return float(
        sum(parameter.grad.double().square().sum()
            for parameter in module.parameters()
            if parameter.grad is not None))**0.5


def double(values: Tensor) -> np.ndarray:
    """For NumPy, in which the equations of the tests are written."""
    return values.detach().double().numpy()


def softmax_of(logits_BK: Tensor, temperature: float = 1.0) -> np.ndarray:
    """Row by row."""
    scaled_BK = double(logits_BK) / temperature
    exponentials_BK = np.exp(scaled_BK - scaled_BK.max(1, keepdims=True))
    return exponentials_BK / exponentials_BK.sum(1, keepdims=True)


def kl_of(student_BK: Tensor,
          teacher_BK: Tensor,
          temperature: float = 1.0) -> float:
    """t^2 KL(softmax T / t || softmax S / t), mean over samples."""
    p_BK = softmax_of(teacher_BK, temperature)
    q_BK = softmax_of(student_BK, temperature)
    rows_B = (p_BK * (np.log(p_BK) - np.log(q_BK))).sum(1)
    return temperature**2 * float(rows_B.mean())


def js_of(student_BK: Tensor, teacher_BK: Tensor, temperature: float) -> float:
    """1/2 KL(P || M) + 1/2 KL(Q || M), mean over samples."""
    p_BK = softmax_of(student_BK, temperature)
    q_BK = softmax_of(teacher_BK, temperature)
    m_BK = (p_BK + q_BK) / 2
    rows_B = (p_BK * np.log(p_BK / m_BK) + q_BK * np.log(q_BK / m_BK)).sum(1)
    return float(rows_B.mean()) / 2


def l1_of(student_BK: Tensor, teacher_BK: Tensor) -> float:
    """mean |S - T|."""
    return float(np.abs(double(student_BK) - double(teacher_BK)).mean())


def cross_entropy_of(logits_BK: Tensor,
                     labels_B: Tensor | None = None) -> np.ndarray:
    """CE(T, y) sample by sample, y = argmax T without labels."""
    p_BK = softmax_of(logits_BK)
    classes_B = p_BK.argmax(1) if labels_B is None else labels_B.numpy()
    return -np.log(p_BK[np.arange(len(p_BK)), classes_B])


def balance_of(logits_BK: Tensor) -> float:
    """sum_k pbar_k log pbar_k, in nats."""
    mean_K = softmax_of(logits_BK).mean(0)
    return float((mean_K * np.log(mean_K)).sum())


@torch.no_grad()
def features_of(model: BaseDFKD, images_BCHW: Tensor) -> np.ndarray:
    """What enters the teacher's last layer, read by a hook of the test."""
    found: list[Tensor] = []
    handle = model.teacher.network.head.fc.register_forward_pre_hook(
        lambda _, inputs: found.append(inputs[0]))
    model.teacher(images_BCHW)
    handle.remove()
    return double(found[0])


@torch.no_grad()
def bn_distance_of(model: BaseDFKD, images_BCHW: Tensor) -> float:
    """sum_l ||mu_l - muhat_l|| + ||var_l - varhat_l|| of the teacher, read by
    hooks of the test."""
    distances: list[float] = []

    def read(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x_CN = np.moveaxis(double(inputs[0]), 1, 0)
        x_CN = x_CN.reshape(len(x_CN), -1)
        distances.append(
            np.linalg.norm(x_CN.mean(1) - double(layer.running_mean)) +
            np.linalg.norm(x_CN.var(1) - double(layer.running_var)))

    handles = [
        layer.register_forward_pre_hook(read)
        for layer in model.teacher.network.modules()
        if isinstance(layer, nn.BatchNorm2d)
    ]
    model.teacher(images_BCHW)
    for handle in handles:
        handle.remove()
    assert len(distances) > 10
    return float(sum(distances))


def surest(model: BaseDFKD, images_BCHW: Tensor, count: int) -> Tensor:
    """The images with the least CE(T, argmax T), in their order."""
    with torch.no_grad():
        loss_B = cross_entropy_of(model.teacher(images_BCHW).logits_BK)
    return images_BCHW[sorted(np.argsort(loss_B)[:count].tolist())]


#: Dotted options that shrink the digits config of an algorithm, beside those
#: of all.
_SHRUNK: dict[str, dict[str, Any]] = dict(
    ADI={'model.generator.batch_size': 8},
    CMI={
        'model.num_features': 32,
        'model.embedding_size': 4,
        'model.bank_capacity': 24,
        'model.num_negatives': 6
    },
    DeepInversion={'model.generator.batch_size': 8},
    FastDFKD={'model.warmup_iterations': 1},
    KAKR={
        'model.replay_batch_size': 4,
        'model.replay.batch_size': 4,
        'model.replay.interval': 1
    },
    NAYER={
        'model.synthesis_batch_size': 10,
        'model.generator.num_noisy_layers': 1
    },
    PREDFKD={
        'model.replay_batch_size': 4,
        'model.num_replay_steps': 1,
        'model.replay.autoencoder.width': 4,
        'model.replay.autoencoder.decoder.width': 4,
        'model.replay.autoencoder.decoder.latent_size': 8
    },
    SpaceshipNet={'model.bank_capacity': 24})
_INVERTING = ('ADI', 'CMI', 'DeepInversion', 'FastDFKD', 'NAYER',
              'SpaceshipNet')
_NARROW = {
    'backbone.base_channels': 4,
    'backbone.stem_channels': 4,
    'head.in_channels': 32
}


def shrinking_options(type: str, checkpoint: str) -> dict[str, Any]:
    """Dotted options that make a digits config of an algorithm run for three
    short iterations.

    Args:
        type: The registered name.
        checkpoint: The teacher's, of the fixture ``tiny_teacher_checkpoint``.
    """
    merged: dict[str, Any] = {
        f'{network}.{key}': value
        for network in ('model.teacher.model', 'model.student')
        for key, value in _NARROW.items()
    } | {
        'model.teacher.checkpoint': checkpoint,
        'model.batch_size': 8,
        'model.num_student_steps': 2,
        'train_cfg.max_epochs': 1,
        'default_hooks.logger.interval': 1,
        'default_hooks.samples.num_images': 8,
        'default_hooks.summary.num_images': 8
    }
    if type == 'VanillaKD':
        # Of 1198 digits.
        merged['train_dataloader.batch_size'] = 400
    else:
        merged['train_dataloader.dataset.num_steps'] = 3
    if type in _INVERTING:
        merged |= {
            'model.num_generator_steps': 2,
            'model.pool.capacity': 24,
        }
    if type not in ('ADI', 'DeepInversion', 'RandomNoiseKD', 'VanillaKD'):
        merged |= {'model.generator.latent_size': 16}
        merged |= {'model.generator.width': 4}
    return merged | _SHRUNK.get(type, {})


def runs_three_iterations(
    type: str,
    checkpoint: str,
    folder: Path,
    options: dict[str, Any] | None = None,
    leaf: str = 'resnet18w16_to_resnet18w8_digits'
) -> tuple[BaseDFKD, list[dict[str, float]]]:
    """Run three iterations of an algorithm's config as a user would.

    It has been checked then that the log of each iteration is finite, that
    all networks of ``trained_networks`` have changed, and that the teacher is
    still the one of the checkpoint.

    Args:
        type: The registered name.
        checkpoint: The teacher's, of the fixture ``tiny_teacher_checkpoint``.
        folder: An empty one.
        options: Dotted keys of the config, in place of those here.
        leaf: Name of the config below the algorithm's folder.

    Returns:
        The trained model, and the losses in the log of each iteration.
    """
    merged = shrinking_options(type, checkpoint) | (options or {})
    config = load_config(
        CONFIGS / type.lower() / f'{leaf}.py',
        merged,
        work_dir=str(folder / type),
        evaluate=False)
    # The Runner draws the weights, so they are only known at the first step.
    first: dict[str, dict[str, Tensor]] = {}
    cls = MODELS.get(type)
    train_step = cls.train_step

    def watched(self: BaseDFKD, *inputs: Any,
                **named: Any) -> dict[str, Tensor]:
        for name in self.trained_networks:
            first.setdefault(name, snapshot(getattr(self, name)))
        return train_step(self, *inputs, **named)

    with mock.patch.object(cls, 'train_step', watched):
        model = train(config)
    for name in model.trained_networks:
        assert_changed(getattr(model, name), first[name])
    weights = read_checkpoint(checkpoint)
    for name, value in model.teacher.network.state_dict().items():
        assert torch.equal(value, weights[name]), name
    [log] = (folder / type).glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    # The measures at the end of an epoch are a row of their own.
    rows = [row for row in rows if 'iter' in row]
    networks = ('student_', 'generator_', 'replay_')
    losses = [{
        name: value
        for name, value in row.items() if name.startswith(networks)
    } for row in rows]
    assert len(losses) == 3
    assert all(losses)
    for row in losses:
        assert torch.isfinite(torch.tensor([*row.values()])).all()
    return model, losses


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
