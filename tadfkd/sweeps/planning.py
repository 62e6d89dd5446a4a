"""Which runs a sweep has, and what decides the result of each."""
import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tadfkd.errors import UserError

if TYPE_CHECKING:
    from mmengine.config import Config

#: Parts of a config on which the result of a run depends, beside its seed.
_DECIDING = ('model', 'optim_wrapper', 'param_scheduler', 'train_cfg',
             'train_dataloader', 'val_dataloader', 'val_evaluator')
#: The folder of runs with the teachers that their configs name.
OWN_TEACHER = 'own_teacher'


@dataclass(frozen=True)
class PlannedRun:
    """A run of a sweep.

    Attributes:
        folder: Its work directory.
        config: As for ``tadfkd train``.
        teacher: Likewise, or None for the config's own.
        seed: Of the run.
        options: New values by dotted key.
        evaluate: False removes all evaluation data.
    """

    folder: Path
    config: str
    teacher: str | None
    seed: int
    options: Mapping[str, Any]
    evaluate: bool

    @property
    def words(self) -> list[str]:
        """The command line after ``tadfkd``, by which anyone makes it."""
        return [
            'train', self.config,
            *(['--teacher', self.teacher] if self.teacher else []), '--seed',
            str(self.seed), '--work-dir',
            str(self.folder), '--once',
            *([] if self.evaluate else ['--no-eval']),
            *(['--cfg-options'] if self.options else []),
            *(f'{key}={value}' for key, value in self.options.items())
        ]

    def load(self) -> 'Config':
        """The config that the command line makes.

        Raises:
            UserError: See :func:`tadfkd.apis.load_config`.
        """
        from tadfkd.apis import load_config
        return load_config(
            self.config,
            dict(self.options),
            work_dir=str(self.folder),
            seed=self.seed,
            teacher=self.teacher,
            evaluate=self.evaluate)


def plan_runs(out: Path,
              configs: Sequence[str],
              teachers: Sequence[str | None],
              seeds: Sequence[int],
              varied: Mapping[str, Sequence[Any]],
              options: Mapping[str, Any] | None = None,
              evaluate: bool = True) -> list[PlannedRun]:
    """All runs of a sweep, those with one seed before those with the next.

    Args:
        out: Their folders are ``TEACHER/CONFIG/seed_N`` below this one, or
            ``TEACHER/CONFIG/KEY=VALUE/seed_N`` if settings are varied.
        configs: As for ``tadfkd train``.
        teachers: Likewise; None is the config's own.
        seeds: Of the runs.
        varied: Values by dotted key. Each combination is a setting.
        options: New values by dotted key, the same for all runs.
        evaluate: False removes all evaluation data.

    Raises:
        UserError: If two runs would have the same folder.
    """
    runs: dict[Path, PlannedRun] = {}
    combinations = [
        dict(zip(varied, values))
        for values in itertools.product(*varied.values())
    ]
    for seed, teacher, config, setting in itertools.product(
            seeds, teachers, configs, combinations):
        path = Path(config)
        folder = Path(
            out, _safe(Path(teacher).stem if teacher else OWN_TEACHER),
            _safe('_'.join(filter(None, (path.parent.name, path.stem)))),
            ','.join(
                _safe(f'{key}={value}') for key, value in setting.items()),
            f'seed_{seed}')
        run = PlannedRun(folder, config, teacher, seed,
                         dict(options or {}) | setting, evaluate)
        other = runs.setdefault(folder, run)
        if other is not run:
            raise UserError(
                f'two runs would share the folder {folder}, from '
                f'{" ".join(filter(None, (other.config, other.teacher)))} and '
                f'{" ".join(filter(None, (config, teacher)))}: name each once,'
                ' and give files of the same name different --out')
    return list(runs.values())


def _safe(name: str) -> str:
    """A name that every file system takes."""
    return re.sub(r'[^\w.=+-]+', '_', name)[-100:]


def fingerprint(config: 'Config') -> str:
    """A hash of what decides the result of a run, except its seed.

    The order of keys does not count, and neither do hooks and log.

    Args:
        config: From :func:`tadfkd.apis.load_config`.
    """
    content = config.to_dict()
    content = {name: content[name] for name in _DECIDING if name in content}
    # Names the config that trains the teacher, for messages.
    if isinstance(content['model'].get('teacher'), dict):
        content['model']['teacher'].pop('recipe', None)
    text = json.dumps(content, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
