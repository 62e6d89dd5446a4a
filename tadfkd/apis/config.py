"""From a config file and command-line options to a checked config."""
import os
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from tadfkd.classifiers.configs import bare_type, with_names
from tadfkd.errors import UserError, nearest, reason_of, require_at_least
from tadfkd.utils.annotations import check_arguments
from tadfkd.utils.shipped import find_config

#: Parts that a ``_base_`` config defines and a leaf copies into ``model``.
PARTS = ('teacher', 'student', 'generator', 'replay', 'data_preprocessor')
EVALUATION = tuple(f'{stage}_{part}' for stage in ('val', 'test')
                   for part in ('dataloader', 'cfg', 'evaluator'))


def load_config(path: str | os.PathLike,
                options: dict[str, Any] | None = None,
                work_dir: str | None = None,
                seed: int | None = None,
                resume: bool | str = False,
                amp: bool = False,
                launcher: str = 'none',
                teacher: str | os.PathLike | None = None,
                teacher_checkpoint: str | None = None,
                evaluate: bool = True) -> Config:
    """Read a config, and apply the changes of a user.

    Args:
        path: A config file, or the name of a shipped one, such as
            ``tadfkd::dafl/resnet34_to_resnet18_cifar10.py``.
        options: New values by dotted key.
        work_dir: Folder that the run writes to. The default is that of the
            config, or ``work_dirs/<folder of the config>/<its name>``; with
            ``_from_<name of the file>`` for another teacher.
        seed: Replaces ``randomness.seed``, >= 0.
        resume: A path resumes from that checkpoint. True resumes from the
            newest intact checkpoint in ``work_dir``, if there is one.
        amp: Whether forward passes run in bfloat16.
        launcher: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.
        teacher: A config whose ``teacher``, or ``model.teacher``, replaces
            that of the config, such as ``tadfkd::teachers/vitw64_digits.py``.
        teacher_checkpoint: Replaces ``model.teacher.checkpoint``.
        evaluate: False removes all evaluation data.

    Returns:
        The config. Checks that need built components are not made yet.

    Raises:
        UserError: If the file, an option or a value cannot be used.
    """
    config = _read(path)
    if teacher is not None:
        _use_teacher(config, path, teacher)
    merge_options(config, options or {})
    check_arguments('', Runner, config)
    if seed is not None:
        config.randomness = dict(config.get('randomness') or {}, seed=seed)
    config.launcher = launcher
    if isinstance(resume, str) and not Path(resume).is_file():
        raise UserError(f'--resume names the checkpoint {resume}, which does '
                        'not exist: name a file, or leave the name out for '
                        'the latest one')
    if resume:
        config.resume = True
        config.load_from = None if resume is True else str(resume)
    if amp:
        _use_autocast(config)
    if teacher_checkpoint is not None:
        if not is_distillation(config):
            raise UserError(f'--teacher-checkpoint was given, but {path} '
                            'distils no teacher: leave it out')
        config.model.teacher.checkpoint = teacher_checkpoint
    if not evaluate:
        for key in EVALUATION:
            config[key] = None
    if work_dir is not None:
        config.work_dir = work_dir
    elif config.get('work_dir') is None:
        config_path = Path(config.filename).resolve()
        name = config_path.stem
        if teacher is not None:
            name += f'_from_{Path(teacher).stem}'
        config.work_dir = str(Path('work_dirs', config_path.parent.name, name))
    _check(config)
    return config


def _read(path: str | os.PathLike) -> Config:
    file = find_config(path)
    try:
        config = with_names(Config.fromfile(file))
    except (Exception, SystemExit) as error:
        # A config is a program: it can fail in any way.
        raise UserError(f'config {path} cannot be read '
                        f'({reason_of(error)}): correct the file') from error
    _forget_scope([*config.values()])
    return config


def _forget_scope(part: Any) -> None:
    """Undo what mmengine adds to parts from a ``tadfkd::`` base.

    The scope of a part would be tadfkd, but all shipped configs are written
    for their ``default_scope``, which is mmpretrain's for teachers.
    """
    if isinstance(part, dict) and 'type' in part:
        if part.get('_scope_') == 'tadfkd':
            del part['_scope_']
    elif isinstance(part, dict | list | tuple):
        for item in part.values() if isinstance(part, dict) else part:
            _forget_scope(item)


def _use_teacher(config: Config, path: str | os.PathLike,
                 source: str | os.PathLike) -> None:
    if not is_distillation(config):
        raise UserError(f'--teacher was given, but {path} distils no teacher: '
                        'leave it out')
    content = _read(source)
    teacher = content.get('teacher')
    if teacher is None and is_distillation(content):
        teacher = content.model.teacher
    if not isinstance(teacher, dict):
        raise UserError(f'--teacher names {source}, which sets no teacher: '
                        'name a config like those of `tadfkd configs '
                        'teachers/`')
    config.model.teacher = teacher


def is_distillation(config: Config) -> bool:
    """Whether the config distils; others train a classifier on data."""
    model = config.get('model')
    return isinstance(model, dict) and 'teacher' in model


def merge_options(config: Config, options: dict[str, Any]) -> None:
    """Change a config in place.

    Args:
        config: The config.
        options: New values by dotted key.

    Raises:
        UserError: If a key is not in the config, or has no effect there.
    """
    for key in options:
        root = key.partition('.')[0]
        if root in PARTS and is_distillation(config):
            raise UserError(f'option {key} has no effect, because the model '
                            f'has its own copy: set model.{key}')
        if root not in config:
            raise UserError(f'option {key} is not in the config: '
                            f'{nearest(root, config.keys())}')
    try:
        config.merge_from_dict(options)
    except (KeyError, TypeError, AssertionError) as error:
        raise UserError(
            '--cfg-options cannot be applied '
            f'({reason_of(error)}): `tadfkd configs --show CONFIG` prints '
            'the keys of the config') from error


def _use_autocast(config: Config) -> None:
    content = config.get('optim_wrapper') or {}
    wrappers = content.values() if is_distillation(config) else [content]
    # torch.cuda.is_bf16_supported() is true for emulation too.
    if torch.cuda.is_available() and torch.cuda.get_device_capability()[0] < 8:
        raise UserError('--amp computes in bfloat16, which this GPU does not '
                        'have: leave --amp out')
    for wrapper in filter(lambda part: isinstance(part, dict), wrappers):
        kind = bare_type(dict(type='OptimWrapper') | wrapper)
        if kind not in ('OptimWrapper', 'AutocastOptimWrapper'):
            raise UserError(f'--amp replaces the type OptimWrapper, got {kind}'
                            ': leave --amp out, or change the type of the '
                            'optim_wrapper')
        wrapper['type'] = 'tadfkd.AutocastOptimWrapper'


def _check(config: Config) -> None:
    work_dir = Path(config.work_dir)
    if work_dir.exists() and not work_dir.is_dir():
        raise UserError(f'work_dir {work_dir} is a file: name a folder by '
                        '--work-dir')
    train = config.get('train_cfg')
    if train is not None and 'max_epochs' in train:
        require_at_least('train_cfg', 'max_epochs', train['max_epochs'], 1)
        require_at_least('train_cfg', 'val_interval',
                         train.get('val_interval', 1), 1)
    seed = (config.get('randomness') or {}).get('seed')
    if seed is not None:
        require_at_least('randomness', 'seed', seed, 0)
