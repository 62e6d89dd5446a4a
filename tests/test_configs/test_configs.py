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
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from PIL import Image

from tadfkd import algorithms, registry
from tadfkd.algorithms import BaseDFKD
from tadfkd.apis import load_config, train

ROOT = Path(__file__).resolve().parents[2]
LEAVES = sorted(
    path for path in (ROOT / 'configs').glob('*/*.py')
    if path.parent.name not in ('_base_', 'teachers'))
TEACHERS = sorted((ROOT / 'configs/teachers').glob('*.py'))
NAME = re.compile(r'(\w+?)_to_([a-z0-9]+)_(\w+?)(?:_(released|pixels|basic|'
                  r'basic_prior|ta|generative))?')

#: Those that a test trains: of each algorithm and variant the one on the
#: smallest images, and of the project's own algorithm more.
TRAINED = [
    path for path in LEAVES if NAME.fullmatch(path.stem)[3] == 'digits'
    or path.parent.name == 'tadfkd' and '_basic' not in path.stem
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


def network_name(model: dict) -> str:
    """As config file names spell it: resnet18w8 is of base width 8, and
    wrn40x2 of depth 40 and widening factor 2.

    What the width is depends on the family: base channels, growth rate, first
    or only embedding width, or percent of the paper's width.
    """
    backbone = model['backbone']
    arch = backbone.get('arch', {})
    match backbone['type']:
        case 'ResNet_CIFAR':
            width = backbone.get('base_channels', 64)
            return f'resnet{backbone["depth"]}' + ('' if width == 64 else
                                                   f'w{width}')
        case 'tadfkd.WideResNet':
            return f'wrn{backbone["depth"]}x{backbone["widen_factor"]}'
        case 'VGG':
            norm = 'bn' if 'norm_cfg' in backbone else ''
            return f'vgg{backbone["depth"]}{norm}'
        case 'MobileNetV2':
            return f'mobilenetv2w{100 * backbone["widen_factor"]:.0f}'
        case 'DenseNet':
            return f'densenetw{arch["growth_rate"]}'
        case 'VisionTransformer':
            return f'vitw{arch["embed_dims"]}'
        case 'MlpMixer':
            return f'mixerw{arch["embed_dims"]}'
        case 'ConvNeXt':
            return f'convnextw{arch["channels"][0]}'
        case 'PoolFormer':
            return f'poolformerw{arch["embed_dims"][0]}'
        case family:
            raise ValueError(f'say how configs spell {family}')


def variants(kind: str) -> list[Path]:
    """The leaves whose name ends in what they do otherwise."""
    found = [path for path in LEAVES if NAME.fullmatch(path.stem)[4] == kind]
    assert found
    return found


def plain(path: Path) -> Path:
    """The leaf that a variant is a variant of."""
    kind = NAME.fullmatch(path.stem)[4]
    return path.with_stem(path.stem.removesuffix(f'_{kind}'))


def difference(path: Path) -> tuple[set[str], dict, dict]:
    """The keys of the model in which a variant and its plain leaf differ, and
    both models. Nothing else differs."""
    configs = [read(file).to_dict() for file in (path, plain(path))]
    models = [config.pop('model') for config in configs]
    assert configs[0] == configs[1]
    return different_keys(*models), *models


def different_keys(first: dict, second: dict) -> set[str]:
    """The keys that only one has, or that have other values."""
    return {
        key
        for key in first.keys() | second.keys()
        if first.get(key) != second.get(key)
    }


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
    features = options.get('teacher.model.head.in_channels')
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
        'num_features': features,
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


def parents(path: Path) -> list[Path]:
    """The configs that a config inherits from directly."""
    inherited = re.search(r"^_base_ = (\[.*?\]|'.*?')$", path.read_text(),
                          re.MULTILINE | re.DOTALL)
    names = re.findall("'(.+?)'", inherited[1]) if inherited else []
    return [(path.parent / name).resolve() for name in names]


def test_there_are_configs_to_test() -> None:
    assert len(LEAVES) >= 8
    assert len(TEACHERS) >= 4


def test_every_algorithm_has_configs_of_the_usual_data_sets() -> None:
    names = {
        name.lower()
        for name in algorithms.__all__ if name in registry.MODELS.module_dict
    }
    assert len(names) >= 16
    assert names == {path.parent.name for path in LEAVES}
    for name in names:
        datasets = {
            NAME.fullmatch(path.stem)[3]
            for path in LEAVES if path.parent.name == name
        }
        assert datasets >= {'cifar10', 'cifar100', 'digits'}, name


@pytest.mark.parametrize('path', LEAVES, ids=name_of)
def test_the_file_name_does_not_lie(path: Path) -> None:
    config = read(path)
    teacher, student, dataset, _ = NAME.fullmatch(path.stem).groups()
    assert network_name(config.model.teacher.model) == teacher
    assert network_name(config.model.student) == student
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
def test_a_leaf_fits_on_a_screen_and_inherits_at_most_twice(
        path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 50
    assert '_delete_' not in text
    assert 'import ' not in text
    for base in parents(path):
        for grandparent in parents(base):
            assert parents(grandparent) == []


@pytest.mark.parametrize(
    'path', [leaf for leaf in LEAVES if leaf.parent.name == 'tadfkd'],
    ids=name_of)
def test_the_networks_fit_each_other(path: Path) -> None:
    build(read(path).model)


# At their full width they are those of the leaves above.
@pytest.mark.parametrize(
    'path', [
        leaf for leaf in LEAVES
        if leaf.parent.name != 'tadfkd' and leaf not in TRAINED
    ],
    ids=name_of)
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
    assert built.num_classes == model['teacher']['model']['head'][
        'num_classes']
    return built


@pytest.mark.parametrize('path', variants('released'), ids=name_of)
def test_the_released_form_differs_in_what_the_paper_notes_say(
        path: Path) -> None:
    different, released, plain = difference(path)
    assert different == {'adversarial_loss', 'image_losses'}
    assert released['adversarial_loss'] == dict(
        type='JSLoss',
        temperature=3.0,
        reduction='mean',
        clamp=(0.01, 0.99),
        swapped=True)
    for name, weight in dict(l2=6e-3, tv=1.5e-5).items():
        assert released['image_losses'][name]['over'] == 'batch'
        assert released['image_losses'][name]['loss_weight'] == weight
        # The same on the mean over samples, at the paper's batch size.
        assert plain['image_losses'][name]['loss_weight'] == pytest.approx(
            weight * 1024**0.5, rel=1e-3)
    assert released['batch_size'] == 1024


@pytest.mark.parametrize('path', variants('ta'), ids=name_of)
def test_the_lenient_expert_is_all_that_another_algorithm_gets(
        path: Path) -> None:
    different, with_expert, plain = difference(path)
    assert different == {'selector'}
    assert with_expert['selector'] == dict(type='GMMSelector')
    assert 'selector' not in plain


@pytest.mark.parametrize(
    'path', [*variants('basic'), *variants('basic_prior')], ids=name_of)
def test_the_ablation_has_no_selection_and_may_have_a_class_prior(
        path: Path) -> None:
    different, ablation, plain = difference(path)
    assert ablation['selector'] == dict(type='SelectAll')
    assert plain['selector'] == dict(type='GMMSelector')
    has_prior = path.stem.endswith('_prior')
    assert different == {'selector', *['class_prior'] * has_prior}


@pytest.mark.parametrize('path', variants('generative'), ids=name_of)
def test_generative_replay_differs_in_the_replay(path: Path) -> None:
    generative, buffered = (
        read(file).model.to_dict() for file in (path, plain(path)))
    assert different_keys(generative,
                          buffered) == {'replay', 'num_replay_steps'}
    assert generative['replay']['type'] == 'GenerativeReplay'
    assert buffered['replay']['type'] == 'BufferReplay'


@pytest.mark.parametrize('path', variants('pixels'), ids=name_of)
def test_pixel_statistics_stand_in_for_the_terms_of_batch_norm_teachers(
        path: Path) -> None:
    different, pixels, _ = difference(path)
    assert different == {'image_losses'}
    weights = {
        name: loss['loss_weight']
        for name, loss in pixels['image_losses'].items()
    }
    assert weights == dict(l2=0.0, tv=0.0, pixels=1.0)
    teacher = dict(
        pixels['teacher'], checkpoint=None, allow_random_weights=True)
    init_default_scope('tadfkd')
    assert MODELS.build(teacher).bn_layers == []


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


def test_the_watch_sees_data_files(tmp_path: Path) -> None:
    Image.new('L', (2, 2)).save(tmp_path / 'a.png')
    (tmp_path / 'test_batch').write_bytes(b'x')
    with opened_data_files() as found:
        Image.open(tmp_path / 'a.png').load()
        (tmp_path / 'test_batch').read_bytes()
        from sklearn.datasets import load_digits
        load_digits()
        (tmp_path / 'written.png').write_bytes(b'x')
    assert [Path(path).name for path in found][:2] == ['a.png', 'test_batch']
    assert len(found) == 3


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
    return model, found


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
    assert network_name(config.model) == path.stem.partition('_')[0]
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
