"""Training, distilling and testing from a config."""
import copy
import inspect
import itertools
import json
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import Runner, set_random_seed
from torch import nn

from tadfkd.apis.config import is_distillation, load_config
from tadfkd.apis.config_checks import (check_components, check_loops, try_data,
                                       try_hooks, try_optimizers)
from tadfkd.apis.runner import (CachedTextConfig, find_start,
                                with_exact_resume, writing_errors)
from tadfkd.checkpoints.reading import read_checkpoint, restricted_unpickling
from tadfkd.checkpoints.weights import load_weights
from tadfkd.distributed import process_group
from tadfkd.errors import UserError
from tadfkd.utils.library_errors import (as_config_error,
                                         memory_errors_as_user_errors,
                                         registry_errors_as_user_errors)

#: Default hooks of mmengine's Runner.
_OWN_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger',
              'param_scheduler', 'checkpoint')

_run_numbers = itertools.count()


def distill(config: str | os.PathLike | Config,
            **changes: Any) -> dict[str, Any]:
    """Distil a student as a config says.

    Args:
        config: A config file, or a config from :func:`load_config`.
        **changes: Arguments of :func:`load_config`, for a config file.

    Returns:
        The summary of the run, as in ``summary.json`` of its work directory.

    Raises:
        UserError: For a mistake in the config or the files that it names.
    """
    if not isinstance(config, Config):
        config = load_config(config, **changes)
    elif changes:
        raise UserError('changes were given beside a config that is loaded '
                        f'already ({", ".join(changes)}): give them to '
                        'load_config')
    if not is_distillation(config):
        raise UserError(f'{config.filename} has no model.teacher, so there is '
                        'nothing to distil: use train')
    train(config)
    summary = Path(config.work_dir, 'summary.json')
    if not summary.is_file():
        raise UserError(f'the run has left no {summary}: put a SummaryHook '
                        'into default_hooks, or use train')
    return json.loads(summary.read_text())


def train(config: Config, hooks: Sequence[Hook] = ()) -> nn.Module:
    """Train what the config describes: a student, or a plain classifier.

    Args:
        config: From :func:`load_config`.
        hooks: Called after all those of the config.

    Returns:
        The trained model.

    Raises:
        UserError: For a mistake in the config or the files that it names;
            nothing has been written then. Also if the run cannot write.
        Interrupted: If a signal told it to stop, and it has been saved.
    """
    with registry_errors_as_user_errors(), restricted_unpickling(), \
            _processes(config):
        _prepare(config)
        if is_distillation(config) and config.model.teacher is None:
            raise UserError('model.teacher is None, so there is nothing to '
                            'distil: set model.teacher')
        check_loops(config, 'train', 'val')
        check_components(config)
        beginning, notes = find_start(config)
        with as_config_error('model'):
            model = MODELS.build(config.model)
        try_hooks(config)
        try_optimizers(model, config)
        loaders = {
            f'{stage}_dataloader': _build_loader(config, stage, model)
            for stage in ('train', 'val')
        }
        with as_config_error('the run'), writing_errors(config):
            runner = _build_runner(
                config,
                model=model,
                train_cfg=with_exact_resume(config.train_cfg),
                **beginning,
                test_dataloader=None,
                test_cfg=None,
                test_evaluator=None,
                **loaders)
        for note in notes:
            runner.logger.warning(note)
        start = _Start()
        for hook in (*hooks, start):
            runner.register_hook(hook, 'LOWEST')
        with memory_errors_as_user_errors(), as_config_error(
                'the run', start.has_happened), writing_errors(config):
            return runner.train()


def test(config: Config, checkpoint: str | os.PathLike) -> dict[str, float]:
    """Evaluate a checkpoint on the test data of its config.

    Of a distillation only the student is evaluated; its teacher is not
    needed.

    Args:
        config: From :func:`load_config`.
        checkpoint: A checkpoint of a run of this config.

    Returns:
        The metrics, accuracies in percent.

    Raises:
        UserError: If there are no test data, or the checkpoint does not fit.
    """
    with registry_errors_as_user_errors(), restricted_unpickling(), \
            _processes(config):
        if config.get('test_dataloader') is None:
            raise UserError(f'{config.filename} has no test data: set '
                            'test_dataloader, test_cfg and test_evaluator')
        _prepare(config)
        check_loops(config, 'test')
        check_components(config)
        content = read_checkpoint(checkpoint)
        model = MODELS.build(
            _student_only(config.model, content.get('meta')
                          ) if is_distillation(config) else config.model)
        load_weights(model, content.get('state_dict', content),
                     f'checkpoint {checkpoint}')
        runner = _build_runner(
            config,
            model=model,
            test_dataloader=_build_loader(config, 'test', model),
            load_from=None,
            resume=False,
            **dict.fromkeys(('train_dataloader', 'train_cfg', 'optim_wrapper',
                             'param_scheduler', 'val_dataloader', 'val_cfg',
                             'val_evaluator')))
        return runner.test()


class _Start(Hook):
    """Knows whether everything is built and the first step can come."""

    def __init__(self) -> None:
        self._happened = False

    def before_train_epoch(self, runner: Runner) -> None:
        """Called after those of all other hooks."""
        self._happened = True

    def has_happened(self) -> bool:
        """Whether training has begun."""
        return self._happened


def _student_only(model: dict, meta: Any) -> dict:
    """The model without teacher, for the class count of its checkpoint."""
    num_classes = meta.get('num_classes') if isinstance(meta, dict) else None
    return dict(
        model, teacher=None, num_classes=model.get('num_classes', num_classes))


def _processes(config: Config) -> AbstractContextManager[None]:
    return process_group(config.launcher,
                         config.get('env_cfg', {}).get('dist_cfg'))


def _prepare(config: Config) -> None:
    init_default_scope(config.get('default_scope', 'mmengine'))
    # Before the Runner does the same, because the model is built before it;
    # a seed that is drawn here is the one that the Runner reports.
    randomness = dict(config.get('randomness') or {})
    randomness['seed'] = set_random_seed(**randomness)
    config.randomness = randomness


def _build_loader(config: Config, stage: str, model: nn.Module) -> Any:
    """The dataloader of a stage, so that missing files are found at once."""
    loader = config.get(f'{stage}_dataloader')
    if loader is None:
        return None
    loader = loader.copy()
    if isinstance(loader.get('dataset'), dict):
        with as_config_error(f'{stage}_dataloader.dataset'):
            dataset = DATASETS.build(loader['dataset'])
            if hasattr(dataset, 'full_init'):
                dataset.full_init()
        loader['dataset'] = dataset
    try_data(config, stage, loader, model)
    return loader


def _build_runner(config: Config, **built: Any) -> Runner:
    """A Runner of the config, with parts that are built already."""
    # Copies, because the Runner writes names and folders into what it gets,
    # which a second run of the same config would take over.
    arguments = {
        name: copy.deepcopy(config[name])
        for name in inspect.signature(Runner).parameters if name in config
    }
    # None takes a hook out, but mmengine knows that only of its own.
    arguments['default_hooks'] = {
        name: hook
        for name, hook in (arguments.get('default_hooks') or {}).items()
        if hook is not None or name in _OWN_HOOKS
    }
    # mmengine keeps loggers by the experiment's name and time in seconds, so
    # two quick runs of one config would write into one folder.
    name = config.get('experiment_name') or Path(config.filename).stem
    arguments['experiment_name'] = f'{name}_{next(_run_numbers)}'
    return Runner(**arguments | built, cfg=CachedTextConfig.of(config))
