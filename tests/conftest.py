"""Fixtures of all tests."""
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapperDict
from mmengine.registry import DefaultScope, init_default_scope
from tiny_networks import classifier

from tadfkd.algorithms import BaseDFKD
from tadfkd.apis import Run, distill, load_config
from tadfkd.classifiers.build import build_classifier
from tadfkd.datasets import Digits
from tadfkd.engine import PerNetworkConstructor
from tadfkd.registry import MODELS

REPOSITORY = Path(__file__).resolve().parents[1]
NARROW = {
    'backbone.base_channels': 4,
    'backbone.stem_channels': 4,
    'head.in_channels': 32
}

# The networks are too small for several threads, and `make test` has a worker
# on each core. No fixture sets this, because fixtures of every scope train.
# The variable is for the processes that tests start.
torch.set_num_threads(1)
os.environ['OMP_NUM_THREADS'] = '1'


@pytest.fixture(autouse=True)
def a_seed() -> None:
    """The random numbers of a test are always the same."""
    torch.manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests that start processes first, and so in one worker.

    They are long, and one worker would wait for another at the end. They share
    a server of processes, which takes seconds to start.
    """
    first = {'test_tools', 'test_distributed', 'test_users'}
    items.sort(key=lambda item: first.isdisjoint(item.path.parts))


@pytest.fixture(autouse=True)
def no_decoration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip what takes much of a short run and is not read: the formatting of
    config texts, the description of the machine, the curves, the report, and
    the files of the student."""
    # OpenMMLab's mmengine imports the function, and the fork looks it up.
    for module in ('mmengine.config.config', 'yapf.yapflib.yapf_api'):
        monkeypatch.setattr(
            f'{module}.FormatCode',
            lambda text, **_: (text, True),
            raising=False)
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    for name in ('draw_curves', 'write_report'):
        monkeypatch.setattr(f'tadfkd.engine.hooks.report.{name}',
                            lambda *_: None)
    monkeypatch.setattr('tadfkd.engine.hooks.student_files.write_student',
                        lambda *_, **__: [])


@pytest.fixture(autouse=True)
def no_default_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the default scope of earlier tests, which mmengine keeps."""
    monkeypatch.setattr(DefaultScope, '_instance_dict', OrderedDict())


@pytest.fixture(scope='session')
def digits_config() -> str:
    """Path of the smallest distillation config, for 16x16 grey digits."""
    return str(REPOSITORY / 'configs' / 'tadfkd' /
               'resnet18w16_to_resnet18w8_digits.py')


@pytest.fixture(scope='session')
def shared_tiny_options() -> dict[str, Any]:
    """Options that shrink ``digits_config``, without a teacher checkpoint.

    All tests share this dictionary: tests that change it use ``tiny_options``.
    """
    networks = ('model.teacher.model', 'model.student')
    return {
        f'{network}.{key}': value
        for network in networks
        for key, value in NARROW.items()
    } | {
        'model.generator.latent_size': 16,
        'model.generator.width': 4,
        'model.batch_size': 8,
        'model.num_student_steps': 2,
        'train_dataloader.dataset.num_steps': 2,
        'train_cfg.max_epochs': 2,
        'default_hooks.samples.num_images': 8,
        'default_hooks.summary.num_images': 8
    }


@pytest.fixture(scope='session')
def tiny_teacher_checkpoint(tmp_path_factory: pytest.TempPathFactory,
                            digits_config: str,
                            shared_tiny_options: dict[str, Any]) -> str:
    """Path of a plain state dict that fits the teacher of ``tiny_options``.

    The teacher is trained on real digits for some steps, so that it is much
    better than chance and its batch-norm statistics fit the digits.
    """
    config = load_config(digits_config, shared_tiny_options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_classifier(config.model.teacher.model.to_dict())
        dataset = Digits('train')
        samples = [dataset[i] for i in range(len(dataset))]
        # Each image is permuted by itself. A permuted batch of grey images has
        # channels-last strides, and training on it with oneDNN (torch 2.14)
        # corrupts the heap.
        images_BCHW = torch.stack([
            torch.from_numpy(sample['img']).permute(2, 0, 1)
            for sample in samples
        ])
        labels_B = torch.tensor([sample['gt_label'] for sample in samples])
        inputs_BCHW = network.data_preprocessor(
            dict(inputs=images_BCHW))['inputs']
        optimizer = torch.optim.Adam(network.parameters(), 5e-3)
        for batch_B in torch.randperm(len(labels_B)).split(40):
            logits_BK = network(inputs_BCHW[batch_B], mode='tensor')
            loss = torch.nn.functional.cross_entropy(logits_BK,
                                                     labels_B[batch_B])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    torch.save(network.state_dict(), path)
    return str(path)


@pytest.fixture(scope='session')
def finished_run(digits_config: str, tiny_teacher_checkpoint: str,
                 shared_tiny_options: dict[str, Any],
                 tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with ``tiny_options``, with all of its files, for tests that only
    read them."""
    return distill(
        digits_config,
        options=shared_tiny_options
        | {'model.teacher.checkpoint': tiny_teacher_checkpoint},
        work_dir=str(tmp_path_factory.mktemp('runs') / 'run'))


@pytest.fixture
def tiny_options(tiny_teacher_checkpoint: str,
                 shared_tiny_options: dict[str, Any]) -> dict[str, Any]:
    """Options that make a run of ``digits_config`` last about a second.

    There are two epochs of two iterations. Each has two student steps and a
    generator step on eight images. Every test gets a copy.
    """
    return shared_tiny_options | {
        'model.teacher.checkpoint': tiny_teacher_checkpoint
    }


@pytest.fixture
def tiny_config(digits_config: str, tiny_options: dict[str, Any],
                tmp_path: Path) -> Config:
    """``digits_config`` with ``tiny_options``, writing below ``tmp_path``."""
    return load_config(
        digits_config, tiny_options, work_dir=str(tmp_path / 'run'))


@pytest.fixture
def tiny_model(tiny_config: Config) -> BaseDFKD:
    """The untrained TADFKD model of ``tiny_config``, with its teacher."""
    return MODELS.build(tiny_config.model)


@pytest.fixture
def make_model() -> Callable[..., BaseDFKD]:
    """Builds a TADFKD model; keywords replace its arguments."""
    init_default_scope('tadfkd')

    def make(**changes: Any) -> BaseDFKD:
        config = dict(
            type='TADFKD',
            teacher=dict(
                type='MMPretrainTeacher',
                model=classifier(),
                input_size=8,
                allow_random_weights=True),
            student=classifier(),
            generator=dict(
                type='UpsamplingGenerator',
                latent_size=6,
                image_size=8,
                image_channels=1,
                width=4),
            batch_size=8,
            student_loss=dict(type='L1Loss'),
            adversarial_loss=dict(type='JSLoss', temperature=3.0),
            bn_loss=dict(type='BNStatisticsLoss', loss_weight=10.0))
        return MODELS.build(config | changes)

    return make


@pytest.fixture
def make_optimisers() -> Callable[[BaseDFKD], OptimWrapperDict]:
    """Plain SGD for student and generator."""

    def make(model: BaseDFKD) -> OptimWrapperDict:
        return PerNetworkConstructor({
            name:
            dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
            for name in ('student', 'generator')
        })(
            model)

    return make
