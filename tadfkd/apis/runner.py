"""Where a run begins, and how it ends when it cannot write."""
import copy
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config

from tadfkd.checkpoints.resume_point import find_damage, newest_intact
from tadfkd.errors import UserError

# Of a disk that is full, or full for this user or this process, or read-only.
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def find_start(config: Config) -> tuple[dict[str, Any], list[str]]:
    """What a run loads, or goes on from.

    Args:
        config: With ``resume`` and ``load_from``.

    Returns:
        The Runner's ``load_from`` and ``resume``, and what the log is to say
        about them.

    Raises:
        UserError: If the run is to go on and its checkpoint is damaged.
    """
    named = config.get('load_from')
    if not config.get('resume'):
        return dict(load_from=named, resume=False), []
    if named is None:
        path, notes = newest_intact(config.work_dir)
        if path is None:
            return dict(
                load_from=None, resume=False
            ), [
                f'{config.work_dir} has no checkpoint to go on from, so the '
                'run starts from the beginning'
            ]
        return dict(load_from=str(path), resume=True), notes
    damage = find_damage(named) if Path(named).is_file() else None
    if damage is not None:
        raise UserError(f'--resume names the checkpoint {named}, which is '
                        f'damaged ({damage}): name another one, or leave the '
                        'name out for the newest that is whole')
    return dict(load_from=named, resume=True), []


def with_exact_resume(train_cfg: dict | None) -> dict | None:
    """``train_cfg`` with :class:`tadfkd.engine.EpochLoop` for the loop by
    epochs that mmengine takes by itself."""
    if not train_cfg or not train_cfg.get('by_epoch'):
        return train_cfg
    others = {key: train_cfg[key] for key in train_cfg if key != 'by_epoch'}
    return dict(others, type='tadfkd.EpochLoop')


class CachedTextConfig(Config):
    """A config that does not change any more.

    mmengine writes its text into every checkpoint, and formats it each time,
    which takes longer than all the rest of saving a small one.
    """

    @classmethod
    def of(cls, config: Config) -> 'CachedTextConfig':
        """A copy of a config."""
        return cls(
            copy.deepcopy(config._cfg_dict), config.text, config.filename,
            config.env_variables)

    @cached_property
    def pretty_text(self) -> str:
        """The text, formatted."""
        return super().pretty_text


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
            f'go on from {last.name}, which is whole, by --resume'
        raise UserError(
            f'the run cannot write {path} ({error.strerror}): make room or '
            f'change the rights, then {remedy}') from error
