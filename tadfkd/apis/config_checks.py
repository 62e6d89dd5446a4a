"""Checks of a config before a run writes anything."""
import importlib.util
import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import InfiniteSampler
from mmengine.evaluator import Evaluator
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.runner import (EpochBasedTrainLoop, IterBasedTrainLoop,
                             LogProcessor, Runner, TestLoop, ValLoop,
                             set_random_seed)
from mmengine.utils.dl_utils import set_multi_processing
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import DataLoader

from tadfkd.algorithms import BaseDFKD
from tadfkd.apis.config import is_distillation
from tadfkd.classifiers.configs import bare_type, class_names_of
from tadfkd.errors import UserError, reason_of
from tadfkd.utils.annotations import check_arguments, parameters_of
from tadfkd.utils.library_errors import (as_config_error, registries,
                                         unexpected_argument)


def _environment(cudnn_benchmark: bool = False,
                 mp_cfg: dict = {},
                 dist_cfg: dict = {},
                 resource_limit: int = 4096) -> None:
    """What mmengine's Runner reads of ``env_cfg``."""


#: Which component takes a part of a config that names no type.
_IMPLIED: dict[str, Callable] = {
    'env_cfg': _environment,
    'env_cfg.mp_cfg': set_multi_processing,
    'log_processor': LogProcessor,
    'randomness': set_random_seed,
    'test_cfg': TestLoop,
    'test_dataloader': DataLoader,
    'train_dataloader': DataLoader,
    'val_cfg': ValLoop,
    'val_dataloader': DataLoader,
    'visualizer': Visualizer,
}

#: Where the record of a run is sent to, and the packages of which one is
#: needed. mmengine imports them after the work directory is made.
_RECORDERS = {
    'AimVisBackend': ('aim', ),
    'ClearMLVisBackend': ('clearml', ),
    'DVCLiveVisBackend': ('dvclive', ),
    'MLflowVisBackend': ('mlflow', ),
    'NeptuneVisBackend': ('neptune', ),
    'TensorboardVisBackend': ('tensorboard', 'tensorboardX'),
    'WandbVisBackend': ('wandb', ),
}

#: Packages with reliable annotations. mmpretrain's own configs contradict its
#: annotations, and so does mmengine's AmpOptimWrapper.
_ANNOTATED = ('mmengine', 'tadfkd', 'torch')


def check_components(config: Config) -> None:
    """Check the values of a config against the annotations of the components
    that take them.

    Components without reliable annotations are left out.

    Raises:
        UserError: For the first value that does not fit, with its path.
    """
    if not isinstance(config.get('model'), dict):
        raise UserError('model must be a dictionary, got '
                        f'{config.get("model")!r}: set model')
    known: dict[str, list[Callable]] = {}
    for registry in registries():
        registry.import_from_location()
        for name, component in registry.module_dict.items():
            known.setdefault(name, []).append(component)
    # The other keys are bases, and the model has its own copies of them.
    read = {*parameters_of(Runner), 'model_wrapper_cfg'} & config.keys()
    content = config.to_dict()
    for path, part in _parts('', {key: content[key] for key in sorted(read)}):
        kind = part.get('type') or _implied(path, part)
        name = kind.rpartition('.')[2] if isinstance(kind, str) else ''
        candidates = known.get(name, [kind] if callable(kind) else [])
        packages = _RECORDERS.get(name, ())
        if packages and not any(map(importlib.util.find_spec, packages)):
            raise UserError(f'{name} needs the package {packages[0]}: install '
                            f'it, or take {path} out')
        errors = []
        if path == 'model':
            _check_names(part, candidates)
        for component in filter(_has_annotations, candidates):
            try:
                check_arguments(path, component, part)
            except UserError as error:
                errors.append(error)
        # Several registries may have a component of that name.
        if errors and len(errors) == len(candidates):
            raise errors[0]


def _check_names(part: dict, candidates: list[Callable]) -> None:
    """Refuse an argument that an algorithm does not have.

    The error of the constructor would name a base class.
    """
    for component in candidates:
        allowed = parameters_of(component)
        if inspect.isclass(component) and issubclass(component, BaseDFKD):
            for name in part.keys() - allowed.keys() - {'type', '_scope_'}:
                raise unexpected_argument(component.__name__, name)


def _has_annotations(component: Callable) -> bool:
    package = component.__module__.partition('.')[0]
    return package in _ANNOTATED and component is not AmpOptimWrapper


def check_stages(config: Config, *stages: str) -> None:
    """Refuse a stage that lacks a part, or a loop with wrong arguments.

    Args:
        config: The whole config.
        *stages: ``'train'``, which is required, ``'val'`` or ``'test'``.

    Raises:
        UserError: For the first mistake.
    """
    for stage in stages:
        last = 'optim_wrapper' if stage == 'train' else f'{stage}_evaluator'
        keys = (f'{stage}_dataloader', f'{stage}_cfg', last)
        missing = [key for key in keys if config.get(key) is None]
        if stage != 'train' and len(missing) == len(keys):
            continue
        if missing:
            raise UserError(f'{", ".join(keys)} belong together, and there is '
                            f'no {missing[0]}: set {missing[0]}')
        loop = dict(config[f'{stage}_cfg'])
        if stage == 'train' and is_distillation(config) and (
                loop.get('by_epoch') is False
                or bare_type(loop) == 'IterBasedTrainLoop'):
            raise UserError('a distillation is counted in epochs, got a loop '
                            'by iterations: set train_cfg.by_epoch=True, '
                            'train_cfg.max_epochs and '
                            'train_dataloader.dataset.num_steps')
        _check_loop(f'{stage}_cfg', loop)


def _check_loop(path: str, part: dict) -> None:
    # The Runner builds a loop only after its first files are written.
    if 'type' in part:
        return
    loop = _implied(path, part)
    supplied = dict.fromkeys(('runner', 'dataloader', 'evaluator'))
    if path == 'train_cfg':
        del supplied['evaluator']
        if not isinstance(part.get('by_epoch'), bool):
            raise UserError('by_epoch must be True or False, got '
                            f'{part.get("by_epoch")!r}: set '
                            'train_cfg.by_epoch')
        del part['by_epoch']
    try:
        inspect.signature(loop).bind(**supplied, **part)
    except TypeError as error:
        raise UserError(f'{path} does not fit {loop.__name__} '
                        f'({reason_of(error)}): change {path}') from error


def check_schedules(config: Config, model: nn.Module) -> None:
    """Refuse a ``param_scheduler`` that leaves out a trained network.

    Raises:
        UserError: With the network that has no schedule.
    """
    schedules = config.get('param_scheduler')
    # A list, or a single schedule with its type, is for all networks.
    if not isinstance(schedules, dict) or 'type' in schedules:
        return
    for network in getattr(model, 'trained_networks', ()):
        if network not in schedules:
            raise UserError(f'param_scheduler has no {network}: set '
                            f'param_scheduler.{network}, to [] for a '
                            'constant learning rate')


def check_class_count(config: Config, stage: str, model: nn.Module) -> None:
    """Refuse evaluation data of other classes than the model's.

    It needs no data, so a data set is not downloaded in vain.

    Args:
        config: The whole config.
        stage: ``'val'`` or ``'test'``.
        model: The model of that config.

    Raises:
        UserError: If the data set has another number of classes.
    """
    known = getattr(model, 'num_classes', None)
    names = class_names_of(config, stage)
    if names is not None and known not in (None, len(names)):
        raise UserError(f'the data set of {stage}_dataloader has {len(names)} '
                        f'classes and the model {known}: set '
                        f'{stage}_dataloader.dataset to data of its classes' +
                        (', or give --no-eval' if stage == 'val' else ''))


# Compiling would take minutes, for two samples.
@torch.compiler.set_stance('force_eager')
@torch.no_grad()
def try_data(config: Config, stage: str, dataloader: dict, model: Any) -> None:
    """Pass two samples through a dataloader, the model and the metrics.

    The random numbers that this draws do not matter, because the Runner sets
    all seeds again.

    Args:
        config: The whole config.
        stage: ``'train'``, ``'val'`` or ``'test'``.
        dataloader: The part of that stage, with a data set that is built.
        model: The model of that config.

    Raises:
        UserError: If any part fails.
    """
    with as_config_error(f'{stage}_dataloader'):
        loader = Runner.build_dataloader(dataloader)
        if len(loader) == 0:
            raise UserError(f'{stage}_dataloader has no batch: set another '
                            'dataset or sampler')
        by_epoch = stage != 'train' or config.train_cfg.get('by_epoch')
        if by_epoch and isinstance(loader.sampler, InfiniteSampler):
            raise UserError(f'{stage}_dataloader.sampler is an InfiniteSampler'
                            ', so that an epoch never ends: set its type to '
                            'DefaultSampler')
        indices = itertools.islice(loader.sampler, 2)
        batch = loader.collate_fn([loader.dataset[index] for index in indices])
    if stage == 'train':
        if isinstance(model, BaseDFKD):
            return
        with as_config_error(
                'model', problem='fails on two samples of train_dataloader'):
            model.eval()(
                **model.data_preprocessor(batch, training=True), mode='loss')
    else:
        with as_config_error(f'{stage}_evaluator'):
            evaluator = Evaluator(config[f'{stage}_evaluator'])
            evaluator.dataset_meta = getattr(loader.dataset, 'metainfo', None)
        with as_config_error(
                'evaluation',
                problem=f'fails on two samples of {stage}_dataloader'):
            evaluator.process(model.eval().val_step(batch), batch)
            evaluator.evaluate(min(2, len(loader.dataset)))
    model.train()


def _parts(path: str, value: Any) -> Iterator[tuple[str, dict]]:
    """All dictionaries in a config, with their paths."""
    if isinstance(value, dict):
        yield path, value
    items = value.items() if isinstance(value, dict) else \
        enumerate(value) if isinstance(value, list | tuple) else ()
    for key, inner in items:
        yield from _parts(f'{path}.{key}' if path else str(key), inner)


def _implied(path: str, part: dict) -> Any:
    """The component that takes a part which names no type."""
    if path == 'train_cfg':
        return EpochBasedTrainLoop if part.get(
            'by_epoch') else IterBasedTrainLoop
    if 'optimizer' in part:
        return OptimWrapper
    return _IMPLIED.get(path)
