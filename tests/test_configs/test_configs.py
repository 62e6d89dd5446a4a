"""Every config: what its name says is in it, and it trains without data."""
import copy
import functools
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from algorithm_helpers import config_folder
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from tadfkd.algorithms import BaseDFKD
from tadfkd.apis import load_config, train
from tadfkd.utils.shipped import find_config

ROOT = Path(__file__).resolve().parents[2]
LEAVES = sorted(
    path for path in (ROOT / 'configs').glob('*/*.py')
    if path.parent.name not in ('_base_', 'teachers'))
TEACHERS = sorted((ROOT / 'configs/teachers').glob('*.py'))
NAME = re.compile(r'(\w+?)_to_([a-z0-9]+)_(\w+?)(?:_(released|pixels|basic|'
                  r'basic_prior|calibrated|procedural|ta|generative|'
                  r'generative_released))?')

#: A test trains each algorithm on the smallest images, with each kind of
#: replay; the other configs are built.
TRAINED = [
    path for path in LEAVES if re.fullmatch(
        'resnet18w16_to_resnet18w8_digits(_generative)?', path.stem)
]
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
    """Settings that make a network small enough to train in a test."""
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
    """Settings with which an algorithm trains in a test, and each of its
    networks does."""
    options = {
        f'{name}.{key}': value
        for name, network in (('teacher.model', model['teacher']['model']),
                              ('student', model['student']))
        for key, value in narrow(network).items()
    }
    few: dict[str, Any] = {
        'batch_size': 4,
        'num_student_steps': 2,
        'num_generator_steps': 2,
        'synthesis_batch_size': 4,
        # The second iteration has student steps.
        'warmup_iterations': 1,
        'pool.capacity': 8,
        'bank_capacity': 8,
        'num_negatives': 4,
        'embedding_size': 4,
        'num_first_syntheses': 2,
        'num_further_images': 4,
        'procedural.size': 16,
        'procedural.num_candidates': 32,
        'replay_batch_size': 2,
        'num_replay_steps': 1,
        'replay.batch_size': 2,
        'replay.interval': 1,
        'replay.autoencoder.width': 4,
        'replay.autoencoder.decoder.width': 4,
        'generator.width': 4,
        # As many as the TeacherSanityHook asks for, in a test.
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
    assert config_folder(config.model.type) == path.parent
    recipe = config.model.teacher.get('recipe')
    if recipe is not None:
        # The recipe makes this very checkpoint.
        path = find_config(recipe)
        assert config.model.teacher.model == read(path).model
        stem = path.stem
        epochs = read(path).train_cfg.max_epochs
        assert config.model.teacher.checkpoint == (
            f'work_dirs/teachers/{stem}/epoch_{epochs}.pth')


@pytest.mark.parametrize(
    'path', [leaf for leaf in LEAVES if leaf not in TRAINED], ids=name_of)
def test_the_narrowed_networks_fit_each_other(path: Path) -> None:
    config = read(path)
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


_watching: list[list[str]] = []


def _audit(event: str, arguments: tuple) -> None:
    if _watching and event == 'open' and isinstance(arguments[0], str):
        mode = arguments[1]
        if mode is None or not set(mode) & set('wax+'):
            _watching[-1].append(arguments[0])


# An audit hook sees every file that this process opens, by whatever library;
# it cannot be removed, so it only writes while a test watches.
sys.addaudithook(_audit)

#: Image files, and the containers of all data sets that the project reads.
_DATA = re.compile(
    r'\.(png|jpe?g|bmp|gif|tiff?|webp|npy|npz|gz|csv|pkl|tar|lmdb|parquet)'
    r'$|(^|/)(data_batch_\d|test_batch|train|test)$|(^|/)data/|ubyte|'
    r'/usr/share/datasets/', re.IGNORECASE)


@contextmanager
def opened_data_files() -> Iterator[list[str]]:
    """Files of data that are read within the block."""
    opened: list[str] = []
    found: list[str] = []
    _watching.append(opened)
    try:
        yield found
    finally:
        _watching.pop()
        # Packages keep code in folders called data, too.
        found += [
            path for path in opened
            if _DATA.search(path) and not path.endswith(('.py', '.pyc'))
        ]


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


def train_shrunk(path: Path, work_dir: Path) -> tuple[BaseDFKD, list[str]]:
    """Two iterations of a config; the model, and the data files opened."""
    options = {
        f'model.{key}': value
        for key, value in shrunk(read(path).model).items()
    } | {
        'model.teacher.checkpoint': None,
        'train_cfg.max_epochs': 1,
        'default_hooks.summary.num_images': 4,
        'default_hooks.samples.num_images': 4,
        'default_hooks.teacher_sanity.num_images': 8,
    }
    if path in REAL:
        options |= {
            'train_dataloader.batch_size': 4,
            'train_dataloader.dataset.indices': 8,
        }
    else:
        options['train_dataloader.dataset.num_steps'] = 2
    config = load_config(
        path, options=options, work_dir=str(work_dir), evaluate=False)
    config.model.teacher.allow_random_weights = True
    with opened_data_files() as found:
        model = train(config)
    assert model.counters.student_steps > 0
    assert (work_dir / 'epoch_1.pth').is_file()
    assert (work_dir / 'samples.png').is_file()
    # A run reads its own pictures for its report.
    return model, [path for path in found if str(work_dir) not in path]


@pytest.mark.parametrize(
    'path', [leaf for leaf in TRAINED if leaf not in REAL], ids=name_of)
def test_no_image_file_is_opened_while_training(path: Path,
                                                tmp_path: Path) -> None:
    model, found = train_shrunk(path, tmp_path)
    assert found == []
    if 'generator' in model.trained_networks:
        assert model.counters.generator_steps > 0


def test_vanilla_distillation_is_seen_opening_its_images(
        tmp_path: Path) -> None:
    _, found = train_shrunk(*{*TRAINED} & {*REAL}, tmp_path)
    assert found != []


@pytest.mark.parametrize('path', TEACHERS, ids=name_of)
def test_a_teacher_config_builds_in_mmpretrains_scope(path: Path) -> None:
    config = read(path)
    assert config.default_scope == 'mmpretrain'
    # A recipe may have another loss, but it trains the teacher's network.
    name = re.sub('(?<=_digits)_.*', '', path.stem)
    assert config.teacher.model == part('teachers', name).model
    init_default_scope('mmpretrain')
    model = MODELS.build(config.model)
    shapes, of_teacher = ({
        key: value.shape
        for key, value in network.state_dict().items()
    } for network in (model, MODELS.build(config.teacher.model)))
    assert shapes == of_teacher
    size = config.teacher.input_size
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


def test_the_readme_of_an_algorithm_has_the_figures_of_its_metafile() -> None:
    for path in metafiles():
        rows = (path.parent / 'README.md').read_text().splitlines()
        for model in yaml.safe_load(path.read_text())['Models']:
            stem = Path(model['Config']).stem
            named = [row for row in rows if f'`{stem}.py`' in row]
            assert named, stem
            if 'Results' not in model:
                assert all(
                    re.search(r'\| not (yet|measured) \|', row)
                    for row in named), stem
            for result in model.get('Results', []):
                for value in result['Metrics'].values():
                    assert any(f' {value:.2f} ' in row for row in named)
