"""mmengine's Runner, built from a config without writing too early.

Hooks, optimisers and data sets are built before the Runner, because the
Runner creates its work directory first and builds these parts afterwards.
"""
import copy
import errno
import inspect
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper, OptimWrapperDict, build_optim_wrapper
from mmengine.registry import DATASETS, HOOKS, OPTIMIZERS
from mmengine.runner import Runner
from torch import nn

from tadfkd.algorithms import BaseDFKD
from tadfkd.apis.config_checks import check_class_count, try_data
from tadfkd.checkpoints.resume_point import newest_intact
from tadfkd.engine.hooks.progress import shorten_console
from tadfkd.errors import UserError
from tadfkd.utils.library_errors import as_config_error

# The disk or the user's quota is full, the file is too large, or the file
# system is read-only.
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)

#: Default hooks of mmengine's Runner.
_OWN_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger',
              'param_scheduler', 'checkpoint')

_run_numbers = itertools.count()


class _FormattedOnce(Config):
    """A config whose text is formatted again only after a change.

    The Runner and its hooks ask for the text four times before the first
    step, and yapf takes 0.2 seconds each time.
    """

    @property
    def pretty_text(self) -> str:
        """The config as Python code."""
        content = repr(self._cfg_dict)
        if self.__dict__.get('_formatted', ('', ))[0] != content:
            self.__dict__['_formatted'] = content, super().pretty_text
        return self.__dict__['_formatted'][1]


class _BriefRunner(Runner):
    """mmengine's Runner, whose console has less than its log file."""

    def build_logger(self, *arguments: Any, **named: Any) -> MMLogger:
        """Build the logger."""
        logger = super().build_logger(*arguments, **named)
        shorten_console(logger)
        return logger


def build_runner(config: Config,
                 verbose: bool = False,
                 /,
                 **built: Any) -> Runner:
    """Build the Runner of a config.

    Args:
        config: The config, which stays unchanged.
        verbose: Whether the console has everything that the log file has.
        **built: Arguments of the Runner that replace those of the config.

    Raises:
        UserError: If a part of the config cannot be built.
    """
    # The Runner writes names and folders into the dictionaries that it gets,
    # and a second run of the same config would find them there.
    arguments = {
        name: copy.deepcopy(config[name])
        for name in inspect.signature(Runner).parameters
        if name in config and name not in built
    }
    # None removes a default hook, but mmengine accepts None only for its own.
    arguments['default_hooks'] = {
        name: _build_hook(f'default_hooks.{name}', hook)
        for name, hook in (arguments.get('default_hooks') or {}).items()
        if hook is not None or name in _OWN_HOOKS
    }
    arguments['custom_hooks'] = [
        _build_hook(f'custom_hooks.{index}', hook)
        for index, hook in enumerate(arguments.get('custom_hooks') or [])
    ]
    # mmengine names loggers by experiment and time in seconds, so two quick
    # runs of one config would write into one folder.
    name = config.get('experiment_name') or Path(config.filename or 'run').stem
    arguments['experiment_name'] = f'{name}_{next(_run_numbers)}'
    formatted = _FormattedOnce()
    formatted.__dict__.update(vars(config))
    with as_config_error('the run'), writing_errors(config):
        runner = Runner if verbose else _BriefRunner
        return runner(**arguments | built, cfg=formatted)


def _build_hook(path: str, hook: Any) -> Hook | None:
    if hook is None or isinstance(hook, Hook):
        return hook
    with as_config_error(path):
        priority = hook.pop('priority', None) if isinstance(hook,
                                                            dict) else None
        built = HOOKS.build(hook)
        if priority is not None:
            built.priority = priority
        return built


def build_optimizers(config: Config, model: nn.Module) -> OptimWrapper:
    """Move a model to its device, and build the optimisers of a config.

    Args:
        config: The config, which stays unchanged.
        model: The model whose parameters the optimisers update.

    Raises:
        UserError: If an optimiser cannot be built, or cannot clip a gradient
            as the config says.
    """
    # Our wrappers keep the buffers of the networks. A later move to a GPU, as
    # the Runner makes it, would replace these buffers.
    model.to(get_device())
    content = config.optim_wrapper
    with as_config_error('optim_wrapper'):
        for part in (content, *content.values()):
            optimizer: dict = isinstance(part,
                                         dict) and part.get('optimizer') or {}
            name = optimizer.get('type')
            if isinstance(name, str) and OPTIMIZERS.get(name) is None:
                # The constructor fails with a message that has no name.
                OPTIMIZERS.build(optimizer)
            if name is not None:
                # Some optimisers fail only in a step: they are for sparse
                # gradients, or need a closure.
                weight = nn.Parameter(torch.zeros(2, 2))
                weight.grad = torch.zeros(2, 2)
                OPTIMIZERS.build(
                    dict(copy.deepcopy(optimizer), params=[weight])).step()
        built = build_optim_wrapper(model, copy.deepcopy(content))
        scale = config.get('auto_scale_lr') or {}
        if scale.get('enable') and isinstance(model, BaseDFKD):
            # mmengine would read the batch size of the loader, which has
            # steps and no images.
            factor = get_world_size(
            ) * model.batch_size / scale['base_batch_size']
            for wrapper in built.values():
                for group in wrapper.optimizer.param_groups:
                    group['lr'] *= factor
        for wrapper in (built.values()
                        if isinstance(built, OptimWrapperDict) else [built]):
            if wrapper.clip_grad_kwargs:
                # Its arguments are not read before the first step.
                parameter = nn.Parameter(torch.zeros(1))
                parameter.grad = torch.zeros(1)
                wrapper.clip_func([parameter], **wrapper.clip_grad_kwargs)
        return built


def build_loader(config: Config, stage: str, model: nn.Module) -> dict | None:
    """Build the data set of a stage, and try the dataloader on two samples.

    Args:
        config: The config, which stays unchanged.
        stage: ``'train'``, ``'val'`` or ``'test'``.
        model: The model of that config.

    Returns:
        The config of the dataloader, with the data set in it, or None.

    Raises:
        UserError: If files of the data set are missing, or if a part fails.
    """
    loader = config.get(f'{stage}_dataloader')
    if loader is None:
        return None
    if stage != 'train':
        check_class_count(config, stage, model)
    loader = loader.copy()
    if isinstance(loader.get('dataset'), dict):
        with as_config_error(f'{stage}_dataloader.dataset'):
            dataset = DATASETS.build(loader['dataset'])
            if hasattr(dataset, 'full_init'):
                dataset.full_init()
        loader['dataset'] = dataset
    try_data(config, stage, loader, model)
    return loader


def with_epoch_loop(train_cfg: dict | None) -> dict | None:
    """Let :class:`tadfkd.engine.EpochLoop`, which resumes within an epoch,
    replace mmengine's loop by epochs.

    A ``train_cfg`` that names its loop by ``type`` stays as it is.
    """
    if not train_cfg or not train_cfg.get('by_epoch'):
        return train_cfg
    others = {key: train_cfg[key] for key in train_cfg if key != 'by_epoch'}
    return dict(others, type='tadfkd.EpochLoop')


@contextmanager
def writing_errors(config: Config) -> Iterator[None]:
    """Turn a full or read-only disk into a :class:`UserError`."""
    try:
        yield
    except OSError as error:
        work_dir = Path(config.work_dir).resolve()
        path = Path(str(error.filename or work_dir)).resolve()
        ours = path.is_relative_to(work_dir) or work_dir.is_relative_to(path)
        if error.errno not in _CANNOT_WRITE and not (ours and isinstance(
                error, PermissionError)):
            raise
        last = newest_intact(work_dir)[0]
        remedy = 'start again' if last is None else \
            f'resume from {last.name}, which is intact, with --resume'
        raise UserError(
            f'the run cannot write {path} ({error.strerror}): make room or '
            f'change the rights, then {remedy}') from error
