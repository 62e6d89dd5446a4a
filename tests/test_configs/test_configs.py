"""Every config: what its name says is in it, and it trains without data."""
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from PIL import Image

from tadfkd.algorithms import BaseDFKD
from tadfkd.apis import load_config, train

ROOT = Path(__file__).resolve().parents[2]
LEAVES = sorted(
    path for path in (ROOT / 'configs').glob('*/*.py')
    if path.parent.name not in ('_base_', 'teachers'))
TEACHERS = sorted((ROOT / 'configs/teachers').glob('*.py'))


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


def parents(path: Path) -> list[Path]:
    """The configs that a config inherits from directly."""
    inherited = re.search(r"^_base_ = (\[.*?\]|'.*?')$", path.read_text(),
                          re.MULTILINE | re.DOTALL)
    names = re.findall("'(.+?)'", inherited[1]) if inherited else []
    return [(path.parent / name).resolve() for name in names]


def test_there_are_configs_to_test() -> None:
    assert len(LEAVES) >= 8
    assert len(TEACHERS) >= 4


@pytest.mark.parametrize('path', LEAVES, ids=name_of)
def test_the_file_name_does_not_lie(path: Path) -> None:
    config = Config.fromfile(path)
    teacher, student, dataset = re.fullmatch(
        r'(\w+?)_to_([a-z0-9]+)_(\w+?)(?:_released|_pixels)?',
        path.stem).groups()
    assert network_name(config.model.teacher.model) == teacher
    assert network_name(config.model.student) == student
    assert config.dataset_name == dataset
    assert config.model.type.lower() == path.parent.name
    recipe = config.model.teacher.get('recipe')
    if recipe is not None:
        # The recipe makes this very checkpoint.
        assert config.model.teacher.model == Config.fromfile(ROOT /
                                                             recipe).model
        stem = Path(recipe).stem
        epochs = Config.fromfile(ROOT / recipe).train_cfg.max_epochs
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


@pytest.mark.parametrize('path', LEAVES, ids=name_of)
def test_the_networks_fit_each_other(path: Path) -> None:
    config = Config.fromfile(path)
    init_default_scope('tadfkd')
    config.model.teacher.update(checkpoint=None, allow_random_weights=True)
    model = MODELS.build(config.model)
    assert isinstance(model, BaseDFKD)
    assert model.num_classes == config.model.teacher.model.head.num_classes


@pytest.mark.parametrize(
    'path', [leaf for leaf in LEAVES if leaf.stem.endswith('_released')],
    ids=name_of)
def test_the_released_form_differs_in_what_the_paper_notes_say(
        path: Path) -> None:
    released = Config.fromfile(path).model.to_dict()
    plain = Config.fromfile(
        path.with_stem(path.stem.removesuffix('_released'))).model.to_dict()
    different = {key for key in plain if plain[key] != released[key]}
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


@pytest.mark.parametrize(
    'path', [leaf for leaf in LEAVES if leaf.stem.endswith('_pixels')],
    ids=name_of)
def test_pixel_statistics_stand_in_for_the_terms_of_batch_norm_teachers(
        path: Path) -> None:
    pixels = Config.fromfile(path).model.to_dict()
    plain = Config.fromfile(path.with_stem(
        path.stem.removesuffix('_pixels'))).model.to_dict()
    different = {key for key in pixels if plain.get(key) != pixels[key]}
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


@pytest.mark.parametrize('path', LEAVES, ids=name_of)
def test_no_image_file_is_opened_while_training(path: Path,
                                                tmp_path: Path) -> None:
    options = {
        'model.batch_size': 4,
        'model.num_student_steps': 2,
        'model.generator.width': 4,
        'model.teacher.checkpoint': None,
        'train_dataloader.dataset.num_steps': 2,
        'train_cfg.max_epochs': 1,
        'default_hooks.summary.num_images': 4,
        'default_hooks.samples.num_images': 4,
    }
    model = Config.fromfile(path).model
    options |= {
        f'model.{name}.{key}': value
        for name, network in (('teacher.model', model.teacher.model),
                              ('student', model.student))
        for key, value in narrow(network).items()
    }
    config = load_config(
        path, options=options, work_dir=str(tmp_path), evaluate=False)
    config.model.teacher.allow_random_weights = True
    with opened_data_files() as found:
        train(config)
    assert found == []
    assert (tmp_path / 'epoch_1.pth').is_file()
    assert (tmp_path / 'samples.png').is_file()


@pytest.mark.parametrize('path', TEACHERS, ids=name_of)
def test_a_teacher_config_builds_in_mmpretrains_scope(path: Path) -> None:
    config = Config.fromfile(path)
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
            for result in model.get('Results', []):
                for value in result['Metrics'].values():
                    assert any(f' {value:.2f} ' in row for row in named)
