"""From a config file and command-line options to a checked config."""
import ast
import codecs
import copy
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.config.lazy import LazyAttr, LazyObject
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings

from tadfkd.apis.fast import has_bfloat16, use_fast_settings
from tadfkd.classifiers.configs import as_own_network, bare_type, with_names
from tadfkd.classifiers.own_network import LiveObject, factory_of, name_of
from tadfkd.errors import UserError, nearest, reason_of, require_at_least
from tadfkd.teachers.sources import teacher_from
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


def load_config(
    path: str | os.PathLike | dict,
    options: dict[str, Any] | None = None,
    work_dir: str | None = None,
    seed: int | None = None,
    resume: bool | str = False,
    amp: bool = False,
    fast: bool = False,
    launcher: str = 'none',
    teacher: Any = None,
    student: Any = None,
    teacher_checkpoint: str | None = None,
    evaluate: bool = True,
    recorders: Sequence[dict[str, Any]] = ()) -> Config:
    """Read a config, and apply the changes of a user.

    Args:
        path: A config file, the name of a shipped one, such as
            ``tadfkd::dafl/resnet34_to_resnet18_cifar10.py``, or the content
            of a config, which may have a ``_base_``.
        options: New values by dotted key.
        work_dir: Folder that the run writes to. The default is that of the
            config, or ``work_dirs/<folder of the config>/<its name>``, without
            the folder if it is the working directory; with
            ``_from_<its name>`` for another teacher.
        seed: Replaces ``randomness.seed``, >= 0.
        resume: A path resumes from that checkpoint. True resumes from the
            newest intact checkpoint in ``work_dir``, if there is one.
        amp: Whether forward passes run in bfloat16.
        fast: Whether a distillation takes the settings that are fast on this
            machine: see :mod:`tadfkd.apis.fast`. Results change by rounding,
            and more in bfloat16.
        launcher: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.
        teacher: Replaces that of the config: a config with a ``teacher`` or
            ``model.teacher``, such as ``tadfkd::teachers/vitw64_digits.py``,
            or what :func:`~tadfkd.teachers.sources.teacher_from` takes.
        student: Replaces ``model.student``: one of the names that it takes, a
            model dict, a network, or a class or function that builds one.
        teacher_checkpoint: Replaces ``model.teacher.checkpoint``.
        evaluate: False removes all evaluation data.
        recorders: Further ``vis_backends`` of mmengine's visualizer, such as
            ``dict(type='TensorboardVisBackend')``.

    Returns:
        The config. Checks that need built components are not made yet.

    Raises:
        UserError: If the file, an option or a value cannot be used.
    """
    config = _read(path)
    if teacher is not None:
        _use_teacher(config, teacher)
    if student is not None:
        _require_distillation(config, 'student')
        config.model.student = as_own_network(student) or student
    make_writable(config)
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
    if fast:
        _require_distillation(config, 'fast')
    if amp or fast and has_bfloat16() and _is_plain(config):
        _use_autocast(config)
    if fast:
        use_fast_settings(config)
    if teacher_checkpoint is not None:
        _require_distillation(config, 'teacher-checkpoint')
        config.model.teacher.checkpoint = teacher_checkpoint
    if not evaluate:
        for key in EVALUATION:
            config[key] = None
    if recorders:
        default = dict(
            type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
        visualizer = config.get('visualizer') or default
        config.visualizer = dict(
            visualizer,
            vis_backends=[*(visualizer.get('vis_backends') or ()), *recorders])
    if work_dir is not None:
        config.work_dir = work_dir
    elif config.get('work_dir') is None:
        place = Path(config.filename or 'distill/run.py').resolve()
        name = place.stem
        if teacher is not None:
            name += '_from_' + re.sub(r'\W+', '_', Path(name_of(teacher)).stem)
        # The name of the working directory says nothing.
        folder = '' if place.parent == Path.cwd() else place.parent.name
        config.work_dir = str(Path('work_dirs', folder, name))
    _check(config)
    return config


def _read(path: str | os.PathLike | dict) -> Config:
    if isinstance(path, dict):
        content = copy.deepcopy(path)
        bases = content.pop('_base_', [])
        config = Config()
        for base in [bases] if isinstance(bases, str) else bases:
            config.merge_from_dict(_read(base).to_dict())
        config.merge_from_dict(content)
        return config
    file = find_config(path)
    try:
        config = with_names(Config.fromfile(file))
    except (Exception, SystemExit) as error:
        # A config is a program: it can fail in any way.
        raise UserError(f'config {path} cannot be read '
                        f'({reason_of(error)}): {_remedy(file)}') from error
    _forget_scope([*config.values()])
    for key in _assigned(file) & COPIES.keys():
        twin = _copy_of(key, config)
        if twin not in (None, config[key]):
            raise UserError(f'{key} in {path} has no effect, because '
                            f'{COPIES[key]} is a copy of an earlier value: '
                            f'set {COPIES[key]}')
    if config.get('data_preprocessor') is not None and isinstance(
            config.get('model'), dict) and not is_distillation(config):
        # mmengine's Runner does the same, for a model that it builds itself.
        config.model.setdefault('data_preprocessor', config.data_preprocessor)
    return config


def make_writable(part: Any, path: str = '') -> None:
    """Replace the objects in a config that its file could not hold.

    A network, class or function that is a ``factory`` becomes the name of the
    factory, or a :class:`~tadfkd.classifiers.own_network.LiveObject`. A class
    that is a ``type`` becomes its name.

    Args:
        part: A config, or any part of it, which is changed.
        path: Its place in the config, for messages.

    Raises:
        UserError: For any other network, class or function.
    """
    if isinstance(part, Config):
        part = part._cfg_dict
    if not isinstance(part, dict | list | tuple):
        return
    content: Any = part
    # A dict of mmengine would import lazy objects at a plain look-up.
    items = dict.items(part) if isinstance(part, dict) else enumerate(part)
    for key, value in [*items]:
        where = f'{path}.{key}' if path else str(key)
        if isinstance(value, LazyObject | LazyAttr) or not callable(value):
            make_writable(value, where)
            continue
        if not path and isinstance(part, dict):
            # A file may define or import the class that it names below.
            del content[key]
            continue
        name = factory_of(value)
        if key != 'factory' and (key != 'type'
                                 or isinstance(name, LiveObject)):
            raise UserError(
                f'{where} is {name_of(value)}, which a config cannot hold: '
                'register it and name it, or give a network as the factory of '
                "'ModuleTeacher' or 'tadfkd.ModuleClassifier'")
        content[key] = name if key == 'factory' else name.replace(':', '.')


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


def _require_distillation(config: Config, option: str) -> None:
    if not is_distillation(config):
        raise UserError(f'--{option} was given, but '
                        f'{config.filename or "the config"} distils no '
                        'teacher: leave it out')


def _use_teacher(config: Config, source: Any) -> None:
    _require_distillation(config, 'teacher')
    is_path = isinstance(source, str | os.PathLike)
    if not is_path or not os.fspath(source).endswith('.py'):
        config.model.teacher = teacher_from(source)
        return
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


def _is_plain(config: Config) -> bool:
    """Whether no optimiser wrapper has a precision of its own."""
    return all(
        bare_type(dict(type='OptimWrapper') | wrapper) == 'OptimWrapper'
        for wrapper in (config.get('optim_wrapper') or {}).values()
        if isinstance(wrapper, dict))


def _use_autocast(config: Config) -> None:
    content = config.get('optim_wrapper') or {}
    wrappers = content.values() if is_distillation(config) else [content]
    if torch.cuda.is_available() and not has_bfloat16():
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
