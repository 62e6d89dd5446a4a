"""Every shipped config has the numbers of its paper and its released code."""
import functools
import importlib
import inspect
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml
from algorithm_helpers import config_folder
from mmengine.config import Config
from mmengine.registry import OPTIMIZERS, PARAM_SCHEDULERS, Registry

from benchmarks.methods import (PAPER_SIZED, SHOWN, flat, methods_table,
                                numbers_of)
from tadfkd import algorithms
from tadfkd.algorithms import BaseDFKD
from tadfkd.registry import MODELS, OPTIM_WRAPPERS, SELECTORS

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'configs'
METHODS: dict[str, Any] = yaml.safe_load(
    (ROOT / 'docs/methods.yml').read_text())
BY_FOLDER = {
    config_folder(name).name: method
    for name, method in METHODS.items()
}
LEAVES = [
    path for path in sorted(CONFIGS.glob('*/*.py'))
    if path.parent.name not in ('_base_', 'teachers')
]

#: What a config may set that is not in docs/methods.yml: parts that have
#: configs of their own, and what the data decides.
OF_THE_DATA = re.compile(
    r'model\.(type$|teacher\.|student\.|data_preprocessor\.|'
    r'generator\.num_classes$)|.*\.image_(size|channels)$|'
    r'optim_wrapper\.(constructor|\w+\.type)$')
#: What the configs with our own sizes, steps and rates have of the paper.
LOSS = re.compile(r'model\.(\w+_loss(es)?|class_prior)\.')
ANYTHING = re.compile('')


def leaf_id(path: Path) -> str:
    """``FOLDER/NAME``."""
    return f'{path.parent.name}/{path.stem}'


def method_of(path: Path) -> dict[str, Any]:
    """The entry of docs/methods.yml that a config belongs to."""
    assert path.parent.name in BY_FOLDER, (
        f'configs/{path.parent.name} has no method: add the algorithm to '
        'docs/methods.yml, under the name of its class')
    return BY_FOLDER[path.parent.name]


@functools.cache
def settings_of(path: Path) -> dict[str, Any]:
    """What a config sets, by dotted path, of all that a method decides."""
    config = Config.fromfile(path).to_dict()
    dataset = config['train_dataloader']['dataset']
    return flat({
        **{
            name: config[name]
            for name in ('model', 'optim_wrapper', 'param_scheduler')
        }, 'train_cfg.max_epochs': config['train_cfg']['max_epochs'],
        'train_dataloader.dataset': {
            name: value
            for name, value in dataset.items() if name == 'num_steps'
        }
    })


def registry_of(path: str) -> Registry:
    """Where the class of the part at a dotted path is registered."""
    if path == 'model.selector':
        return SELECTORS
    if path.startswith('param_scheduler'):
        return PARAM_SCHEDULERS
    if path.startswith('optim_wrapper'):
        return OPTIMIZERS if path.endswith('optimizer') else OPTIM_WRAPPERS
    return MODELS


def default_of(cls: type, name: str) -> Any:
    """The default of a constructor's argument.

    Raises:
        KeyError: If neither the class nor its bases have one.
    """
    for base in cls.__mro__:
        parameter = inspect.signature(base.__init__).parameters.get(name)
        if parameter is not None and \
                parameter.default is not inspect.Parameter.empty:
            default = parameter.default
            return [*default] if isinstance(default, tuple) else default
    raise KeyError(name)


def object_at(path: str) -> Any:
    """A constant, or the default of a class, of the package."""
    module, _, name = path.rpartition('.')
    try:
        value = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError:
        module, _, cls = module.rpartition('.')
        value = default_of(getattr(importlib.import_module(module), cls), name)
    return [*value] if isinstance(value, tuple) else value


def found_at(settings: dict[str, Any], path: str) -> Any:
    """What a config sets at a dotted path, or what its class defaults to."""
    if path in settings:
        return settings[path]
    if path.startswith('tadfkd.'):
        return object_at(path)
    part, _, name = path.rpartition('.')
    if any(other.startswith(f'{path}.') for other in settings):
        return f'a part of type {settings.get(f"{path}.type")}'
    type_ = settings.get(f'{part}.type')
    cls = registry_of(part).get(type_) if type_ else None
    if cls is None:
        return 'nothing: the config has no part with a type there'
    try:
        return default_of(cls, name)
    except KeyError:
        return f'nothing: {cls.__name__} has no argument {name} with a default'


@functools.cache
def differences(path: Path) -> dict[str, str]:
    """What of a config is otherwise than its method has it, or nowhere in
    ``docs/methods.yml``; by dotted path."""
    method = method_of(path)
    settings = settings_of(path)
    numbers = numbers_of(method, path.stem)
    wrong = {}
    for name, expected in numbers.items():
        found = found_at(settings, name)
        if type(found) is bool or type(expected) is bool:
            same = found is expected
        else:
            same = found == expected
        if not same:
            wrong[name] = f'{found} for {expected}'
    for name in settings.keys() - numbers.keys() - method['ours'].keys():
        decides = LOSS if not PAPER_SIZED.search(path.stem) else ANYTHING
        if decides.match(name) and not OF_THE_DATA.match(name):
            wrong[name] = (
                f'{settings[name]} is not in docs/methods.yml: add the number '
                'of the paper to `numbers`, or the reason to `ours`')
    return wrong


@pytest.mark.parametrize('path', LEAVES, ids=leaf_id)
def test_a_config_has_the_numbers_of_its_paper(path: Path) -> None:
    assert differences(path) == {}, \
        f'configs/{leaf_id(path)}.py is otherwise than docs/methods.yml'


def test_every_row_is_about_a_config() -> None:
    for folder, method in BY_FOLDER.items():
        leaves = [path for path in LEAVES if path.parent.name == folder]
        for row in method['numbers']:
            for pattern in row['configs']:
                assert any(fnmatchcase(path.stem, pattern)
                           for path in leaves), (folder, pattern)
        for name in method['ours']:
            assert any(name in settings_of(path)
                       for path in leaves), (folder, name)


def test_every_algorithm_and_every_folder_has_a_method() -> None:
    registered = {
        cls.__name__
        for cls in MODELS.module_dict.values()
        if isinstance(cls, type) and issubclass(cls, BaseDFKD)
        and cls.__module__.startswith(algorithms.__name__)
    }
    assert METHODS.keys() == registered, \
        'docs/methods.yml needs one entry per algorithm'
    assert BY_FOLDER.keys() == {path.parent.name for path in LEAVES}
    for name in METHODS:
        assert (config_folder(name) / f'{SHOWN}.py').is_file()


def test_every_schedule_and_generator_is_in_a_config_of_a_paper() -> None:
    schedules = [
        path for path in CONFIGS.glob('_base_/schedules/*.py')
        if not path.stem.startswith('supervised')
    ]
    generators = [
        path for path in CONFIGS.glob('_base_/generators/*.py')
        if 'grey' not in path.stem
    ]
    # A schedule may extend another one.
    text = ''.join(path.read_text() for path in [
        *filter(lambda path: PAPER_SIZED.search(path.stem), LEAVES), *schedules
    ])
    for path in schedules + generators:
        assert f"/{path.name}'" in text, path


def test_a_cell_that_names_no_number_says_so() -> None:
    method = METHODS['DAFL'] | dict(schedule='{model.nothing} steps')
    with pytest.raises(ValueError, match='model.nothing, which is none of'):
        methods_table(dict(DAFL=method))
