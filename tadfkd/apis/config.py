"""From a config file and command-line options to a checked config."""
import ast
import codecs
import os
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings

from tadfkd.classifiers.configs import bare_type, with_names
from tadfkd.errors import UserError, nearest, reason_of, require_at_least
from tadfkd.utils.annotations import check_arguments, parameters_of
from tadfkd.utils.library_errors import as_config_error
from tadfkd.utils.shipped import find_config

#: Variables of configs, and where configs copy them to. Only copies count.
COPIES = {
    'teacher': 'model.teacher',
    'student': 'model.student',
    'generator': 'model.generator',
    'replay': 'model.replay',
    'data_preprocessor': 'model.data_preprocessor',
    'vis_backends': 'visualizer.vis_backends',
    'train_pipeline': 'train_dataloader.dataset.pipeline',
    'test_pipeline': 'test_dataloader.dataset.pipeline',
    'optimizer': 'optim_wrapper.optimizer',
}
#: Keys that a run reads beside the arguments of mmengine's Runner.
_READ = ('custom_imports', 'model_wrapper_cfg')
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
                        f'({reason_of(error)}): {_remedy(file)}') from error
    _forget_scope([*config.values()])
    for key in _assigned(file) & COPIES.keys():
        copy = _copy_of(key, config)
        if copy not in (None, config[key]):
            raise UserError(f'{key} in {path} has no effect, because '
                            f'{COPIES[key]} is a copy of an earlier value: '
                            f'set {COPIES[key]}')
    if config.get('data_preprocessor') is not None and isinstance(
            config.get('model'), dict) and not is_distillation(config):
        # mmengine's Runner does the same, for a model that it builds itself.
        config.model.setdefault('data_preprocessor', config.data_preprocessor)
    return config


def _assigned(file: Path) -> set[str]:
    """The variables that a config assigns, beside those that it inherits,
    and does not use itself."""
    try:
        tree = ast.parse(file.read_text('utf-8'))
    except (SyntaxError, ValueError):
        # It is JSON or YAML, or has a place holder of mmengine.
        return set()
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    stored, used = ({
        name.id
        for name in names if isinstance(name.ctx, context)
    } for context in (ast.Store, ast.Load))
    # A file that inherits nothing, such as one in a work directory, has all
    # values itself.
    inherits = '_base_' in stored or 'read_base' in used
    return stored - used if inherits else set()


def _copy_of(key: str, config: Config) -> Any:
    """What a config has where it copies a variable to, or None."""
    part: Any = config
    for name in COPIES[key].split('.'):
        part = part.get(name) if hasattr(part, 'get') else None
    return part


def _remedy(file: Path) -> str:
    """What to do about a config that cannot be read."""
    if file.is_file() and file.read_bytes().startswith(codecs.BOM_UTF8):
        return 'save it as UTF-8 without a byte order mark'
    return 'correct the file'


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
        root, dot, rest = key.partition('.')
        if root in COPIES and _copy_of(root, config) is not None:
            raise UserError(f'option {key} has no effect, because '
                            f'{COPIES[root]} is a copy of it: set '
                            f'{COPIES[root]}{dot}{rest}')
        known = {*config.keys(), *parameters_of(Runner), *_READ} - {'cfg'}
        if root not in known:
            raise UserError(f'option {key} is not in the config: '
                            f'{nearest(root, known)}')
    try:
        config.merge_from_dict(options)
    except (KeyError, TypeError, AssertionError) as error:
        raise UserError(
            '--cfg-options cannot be applied '
            f'({reason_of(error)}): `tadfkd configs --show CONFIG` prints '
            'the keys of the config') from error
    if any(key.startswith('custom_imports') for key in options):
        # The file's own were imported when it was read.
        with as_config_error('custom_imports', 'cannot be imported'):
            import_modules_from_strings(**config.custom_imports)


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
