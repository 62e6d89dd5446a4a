"""Find the config of an mmpretrain classifier, and read facts from it."""
import copy
import importlib.util
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.config.lazy import LazyAttr, LazyObject
from mmengine.hub import get_config
from mmengine.registry import DATASETS

from tadfkd.classifiers.input_adapter import ChannelOrder
from tadfkd.errors import UserError, nearest, size_pair
from tadfkd.utils.library_errors import registries

#: Libraries, and mmpretrain's wrapper for each.
_WRAPPERS = {'timm': 'TimmClassifier', 'transformers': 'HuggingFaceClassifier'}
#: The type of a student that no registry has.
OWN_NETWORK = 'tadfkd.ModuleClassifier'
_TORCHVISION = 'torchvision.models:'
#: Image sizes of data sets whose pipelines do not resize, in pixels.
_DATASET_SIZES = {
    'CIFAR10': 32,
    'CIFAR100': 32,
    'MNIST': 28,
    'FashionMNIST': 28,
    'TinyImageNet': 64
}


def find_classifier(model: str | os.PathLike | dict,
                    where: str) -> tuple[dict, Config | None]:
    """The model dict that a config field names.

    Args:
        model: A model name of mmpretrain's zoo, the path of a config
            (``mmpretrain::...`` for a config in the mmpretrain package),
            ``timm::NAME``, ``transformers::NAME_OR_FOLDER``,
            ``torchvision::NAME``, ``package.module:factory``, or a model
            dict.
        where: The field, for messages.

    Returns:
        A copy of the model dict, and the config that contains it; None if
        there is no config.

    Raises:
        UserError: If there is no such model.
    """
    if isinstance(model, dict):
        return copy.deepcopy(ConfigDict(model).to_dict()), None
    own = as_own_network(model)
    if own is not None:
        return own, None
    if not isinstance(model, str | os.PathLike):
        raise UserError(f'{where} must be a zoo name, a config path, a '
                        'timm::, transformers:: or torchvision:: name, '
                        'package.module:factory, or a model dict, got '
                        f'{model!r}')
    name = os.fspath(model)
    library, _, wrapped = name.partition('::')
    if library in _WRAPPERS:
        return dict(type=_WRAPPERS[library], model_name=wrapped), None
    config = _read_config(name, where) if name.endswith('.py') \
        else _read_zoo(name, where)
    model_dict = config.model.to_dict()
    if 'data_preprocessor' in config:
        model_dict.setdefault('data_preprocessor',
                              config.data_preprocessor.to_dict())
    # By default, mmpretrain passes on pixels as they are.
    model_dict.setdefault('data_preprocessor', {})
    return model_dict, config


def as_own_network(source: Any) -> dict | None:
    """The config of a network that no registry has, if ``source`` is one.

    Args:
        source: Anything that names a classifier.

    Example:
        >>> as_own_network('torchvision::resnet18')['factory']
        'torchvision.models:resnet18'
    """
    from tadfkd.classifiers.own_network import factory_of
    if isinstance(source, str):
        library, _, name = source.partition('::')
        if library == 'torchvision':
            return dict(
                type=OWN_NETWORK,
                factory=f'{_TORCHVISION}{name}',
                arguments=dict(weights=None))
        if ':' not in source or '::' in source:
            return None
    elif not callable(source):
        return None
    return dict(type=OWN_NETWORK, factory=factory_of(source))


def bare_type(part: dict) -> str:
    """The name of a part's type, without scope and module."""
    return str(part.get('type')).rpartition('.')[2]


def with_names(config: Config) -> Config:
    """A config that names by ``scope.Name`` what it imports.

    mmengine's new style of configs (``with read_base():``) has imported
    classes and functions in place of names. What is not registered is named
    by its module.
    """
    if not config._imported_names:
        return config

    def named(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: named(item) for key, item in dict.items(value)}
        if isinstance(value, list | tuple):
            return type(value)(map(named, value))
        if not isinstance(value, LazyAttr | LazyObject):
            return value
        found = value.build()
        return next((f'{registry.scope}.{key}' for registry in registries()
                     for key, component in registry.module_dict.items()
                     if component is found), f'{value.module}.{value}')

    return Config(
        named(config._to_lazy_dict()),
        cfg_text=config.text,
        filename=config.filename)


def _read_config(path: str, where: str) -> Config:
    if '::' not in path and not Path(path).is_file():
        raise UserError(f'{where} names the config {path}, which does not '
                        'exist: name an existing one')
    package = path.partition('::')[0]
    if '::' in path and importlib.util.find_spec(package) is None:
        # mmengine would download and install a package of that name.
        raise UserError(f'{where} names the config {path}, but the package '
                        f'{package} is not installed: install it')
    try:
        # PACKAGE:: is mmengine's prefix for configs of installed packages.
        config = with_names(
            get_config(path) if '::' in path else Config.fromfile(path))
    except Exception as error:
        # A config is a program: it can raise any exception.
        raise UserError(f'{where} names the config {path}, which cannot be '
                        f'read ({error}): correct it') from error
    if not isinstance(config.get('model'), dict):
        raise UserError(f'{where} names the config {path}, which has no '
                        'model: name the config of a classifier')
    return config


def _read_zoo(name: str, where: str) -> Config:
    from mmpretrain.apis import ModelHub, list_models
    if name not in list_models():
        raise UserError(f'{where} names the model {name!r}, which '
                        "mmpretrain's zoo does not have: "
                        f'{nearest(name, list_models(task=None)[:])}')
    try:
        return ModelHub.get(name).config
    except Exception as error:
        # A config is a program: it can raise any exception.
        raise UserError(f'{where} names the model {name!r}, whose config '
                        f'mmpretrain itself cannot read ({error}): choose '
                        'another, or write its model dict') from error


def without_pretrained_weights(model: Any) -> Any:
    """A copy of the dict in which no part loads pretrained weights."""
    if isinstance(model, dict):
        return {
            key: without_pretrained_weights(value)
            for key, value in model.items() if key != 'pretrained'
            and not (key == 'init_cfg' and _is_pretrained(value))
        }
    if isinstance(model, list | tuple):
        return type(model)(
            without_pretrained_weights(item) for item in model
            if not _is_pretrained(item))
    return model


def _is_pretrained(init: Any) -> bool:
    return isinstance(
        init, dict) and bare_type(init) in ('Pretrained', 'PretrainedInit')


def wrapped_library(model: dict) -> str | None:
    """``'timm'`` or ``'transformers'`` if mmpretrain wraps the model."""
    libraries = {wrapper: name for name, wrapper in _WRAPPERS.items()}
    return libraries.get(bare_type(model))


def lacks_class_count(model: dict) -> bool:
    """Whether a model of timm or Hugging Face has their own class count."""
    return wrapped_library(model) is not None and not {
        'num_classes', 'num_labels'
    } & model.keys()


def with_num_classes(model: dict, num_classes: int) -> dict:
    """A copy of the model dict with another number of classes.

    Raises:
        UserError: If no part of the model has ``num_classes``.
    """
    model = copy.deepcopy(model)
    library = wrapped_library(model)
    if library is not None:
        key = 'num_classes' if library == 'timm' else 'num_labels'
        return model | {key: num_classes}
    if 'factory' in model:
        # Only its owner knows how any other factory takes the number.
        if model['factory'].startswith(_TORCHVISION):
            model['arguments']['num_classes'] = num_classes
        return model
    # VGG, InceptionV3 and the like classify in their backbone.
    for part in (model.get('head') or {}, model.get('backbone') or {}):
        if part.get('num_classes', 0) > 0:
            part['num_classes'] = num_classes
            return model
    raise UserError('the student has no part with num_classes, so it cannot '
                    f'be given {num_classes} classes: set num_classes of the '
                    'head in model.student')


def input_size_of(config: Config) -> tuple[int, int] | None:
    """Height and width of a config's test images.

    It is the config's ``input_size``, which only our configs have; else the
    size that the last resizing step of the test pipeline sets; else the image
    size of the data set.
    """
    if 'input_size' in config:
        return size_pair('the config', 'input_size', config['input_size'])
    dataset = _dataset(config)
    for step in reversed(dataset.get('pipeline', [])):
        size = step.get('crop_size', step.get('scale', step.get('size')))
        sizes = (size, size) if isinstance(size, int) else size
        # A size with -1 keeps the aspect ratio, so it is not the final one.
        if isinstance(sizes,
                      list | tuple) and len(sizes) == 2 and min(sizes) > 0:
            # mmcv's sizes are (width, height), torchvision's are (height,
            # width).
            first, second = sizes
            is_torchvision = 'torchvision' in str(step.get('type'))
            return (first, second) if is_torchvision else (second, first)
    size = dataset.get('image_size', _DATASET_SIZES.get(bare_type(dataset)))
    return None if size is None else size_pair('the data set', 'image_size',
                                               size)


def normalisation_of(config: Config) -> tuple[list, list] | None:
    """Mean and deviation of ``Normalize`` in the test pipeline, if any."""
    for step in _dataset(config).get('pipeline', []):
        if bare_type(step) == 'Normalize':
            return [*step['mean']], [*step['std']]
    return None


def channel_order_of(config: Config, model: dict) -> ChannelOrder | None:
    """The channel order of the network's input; None without test data.

    mmcv loads image files as BGR, and ``to_rgb=True`` converts them. Data
    sets of arrays, such as CIFAR, are RGB although they have ``to_rgb=False``.
    """
    pipeline = _dataset(config).get('pipeline', [])
    from_file = any(
        bare_type(step) == 'LoadImageFromFile' for step in pipeline)
    converts = [
        model.get('data_preprocessor') or {},
        *(step for step in pipeline if bare_type(step) == 'Normalize')
    ]
    to_rgb = any(step.get('to_rgb', False) for step in converts)
    if not pipeline:
        return None
    return 'bgr' if from_file and not to_rgb else 'rgb'


def class_names_of(config: Config, stage: str = 'test') -> list[str] | None:
    """The class names of a config's data, if the data set need not be read.

    Args:
        config: The config.
        stage: ``'test'`` or ``'val'``.
    """
    dataset = _dataset(config, stage)
    kind = dataset.get('type')
    if isinstance(kind, str):
        with DATASETS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
    metainfo = getattr(kind, 'METAINFO', {}) | dataset.get('metainfo', {})
    return [*metainfo['classes']] if metainfo.get('classes') else None


def _dataset(config: Config, stage: str = 'test') -> dict:
    dataset = (config.get(f'{stage}_dataloader') or {}).get('dataset', {})
    # Wrappers such as RepeatDataset hold the data set as ``dataset``.
    while isinstance(dataset, dict) and 'pipeline' not in dataset \
            and 'dataset' in dataset:
        dataset = dataset['dataset']
    # What is no config of a data set is refused where the set is built.
    return dataset if isinstance(dataset, dict) else {}
