"""Every config: what its name says is in it, and only VanillaKD names data
to train on."""
import copy
import functools
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from tadfkd.algorithms import BaseDFKD

ROOT = Path(__file__).resolve().parents[2]
LEAVES = sorted(
    path for path in (ROOT / 'configs').glob('*/*.py')
    if path.parent.name not in ('_base_', 'teachers'))
TEACHERS = sorted((ROOT / 'configs/teachers').glob('*.py'))
NAME = re.compile(r'(\w+?)_to_([a-z0-9]+)_(\w+?)(?:_(released|pixels|basic|'
                  r'basic_prior|ta|generative))?')

REAL = [path for path in LEAVES if path.parent.name == 'vanillakd']


@functools.cache
def read_once(path: Path) -> Config:
    """A config that nobody changes: reading one costs more than most of what
    is tested of it."""
    return Config.fromfile(path)


def read(path: Path) -> Config:
    """A config of one's own."""
    return copy.deepcopy(read_once(path))


def name_of(path: Path) -> str:
    """Folder and stem, as the id of a test."""
    return f'{path.parent.name}/{path.stem}'


def part(room: str, name: str) -> dict:
    """What ``configs/_base_/ROOM/NAME.py`` defines."""
    return read_once(ROOT / f'configs/_base_/{room}/{name}.py')[room[:-1]]


def narrow(model: dict) -> dict[str, int]:
    """Settings that make a network cheap to build."""
    if model['backbone']['type'] == 'tadfkd.WideResNet':
        return {
            'backbone.depth': 10,
            'backbone.widen_factor': 1,
            'head.in_channels': 64
        }
    if model['backbone']['type'] != 'ResNet_CIFAR':
        # The other families are narrow.
        return {}
    # A quarter of a quarter of the width.
    return {
        'backbone.base_channels': 4,
        'backbone.stem_channels': 4,
        'head.in_channels': 32
    }


def shrunk(model: dict) -> dict[str, Any]:
    """Settings that make an algorithm cheap to build, with its networks."""
    options = {
        f'{name}.{key}': value
        for name, network in (('teacher.model', model['teacher']['model']),
                              ('student', model['student']))
        for key, value in narrow(network).items()
    }
    features = options.get('teacher.model.head.in_channels')
    few: dict[str, Any] = {
        'batch_size': 4,
        'synthesis_batch_size': 4,
        'pool.capacity': 8,
        'bank_capacity': 8,
        'num_negatives': 4,
        'embedding_size': 4,
        'num_features': features,
        'replay_batch_size': 2,
        'replay.batch_size': 2,
        'replay.autoencoder.width': 4,
        'replay.autoencoder.decoder.width': 4,
        'generator.width': 4,
        'generator.batch_size': 8,
        'generator.num_noisy_layers': 2,
        'generator.embedding_size': model['student']['head']['num_classes'],
    }
    return options | {
        key: value
        for key, value in few.items()
        if (has := setting(model, key)) is not None and has > value
    }


def setting(model: dict, key: str) -> Any:
    """What a dotted key of a model is, or None."""
    for part in key.split('.'):
        model = model.get(part, {})
    return None if model == {} else model


@pytest.mark.parametrize('path', LEAVES, ids=name_of)
def test_the_file_name_does_not_lie(path: Path) -> None:
    config = read(path)
    teacher, student, dataset, _ = NAME.fullmatch(path.stem).groups()
    assert config.model.teacher == part('teachers', f'{teacher}_{dataset}')
    assert config.model.student == part('students', f'{student}_{dataset}')
    assert config.dataset_name == dataset
    assert config.model.type.lower() == path.parent.name
    recipe = config.model.teacher.get('recipe')
    if recipe is not None:
        # The recipe makes this very checkpoint.
        assert config.model.teacher.model == read(ROOT / recipe).model
        stem = Path(recipe).stem
        epochs = read(ROOT / recipe).train_cfg.max_epochs
        assert config.model.teacher.checkpoint == (
            f'work_dirs/teachers/{stem}/epoch_{epochs}.pth')


@pytest.mark.parametrize('path', LEAVES, ids=name_of)
def test_the_narrowed_networks_fit_each_other(path: Path) -> None:
    config = read(path)
    if config.model.type == 'CMI':
        assert config.model.num_features == \
            config.model.teacher.model.head.in_channels
    config.merge_from_dict({
        f'model.{key}': value
        for key, value in shrunk(config.model).items()
    })
    model = build(config.model)
    assert {*model.trained_networks} == \
        config.optim_wrapper.keys() - {'constructor'}
    assert config.param_scheduler.keys() <= {*model.trained_networks}


def build(model: dict) -> BaseDFKD:
    """The model with a teacher that has no checkpoint."""
    init_default_scope('tadfkd')
    model['teacher'].update(checkpoint=None, allow_random_weights=True)
    built = MODELS.build(model)
    assert isinstance(built, BaseDFKD)
    return built


def test_only_vanilla_distillation_names_training_images() -> None:
    for path in LEAVES:
        config = read(path)
        training = config.train_dataloader.dataset
        if path in REAL:
            assert training.type == config.val_dataloader.dataset.type
            assert training.split == 'train'
        else:
            assert training.type == 'StepDataset', path
        assert config.val_dataloader.dataset.split == 'test'


@pytest.mark.parametrize('path', TEACHERS, ids=name_of)
def test_a_teacher_config_builds_in_mmpretrains_scope(path: Path) -> None:
    config = read(path)
    assert config.default_scope == 'mmpretrain'
    assert config.model == part('teachers', path.stem).model
    init_default_scope('mmpretrain')
    model = MODELS.build(config.model)
    size = {
        'digits': 16,
        'fashion_mnist': 28
    }.get(path.stem.partition('_')[2], 32)
    channels = len(config.model.data_preprocessor.mean)
    with torch.no_grad():
        logits_BK = model.eval()(
            torch.zeros(1, channels, size, size), mode='tensor')
    assert logits_BK.shape == (1, config.model.head.num_classes)


def metafiles() -> list[Path]:
    """As the model index lists them."""
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    return [ROOT / path for path in index['Import']]


def test_every_config_is_in_a_metafile_and_the_other_way_round() -> None:
    listed = {
        ROOT / model['Config']
        for path in metafiles()
        for model in yaml.safe_load(path.read_text())['Models']
    }
    assert listed == {*LEAVES, *TEACHERS}
