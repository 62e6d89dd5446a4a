"""Find the checkpoint from which a run resumes."""
import os
import re
import zipfile
from pathlib import Path
from typing import Any

from mmengine.config import Config

from tadfkd.checkpoints.inspection import inspect
from tadfkd.checkpoints.unpickling import load_restricted
from tadfkd.errors import UserError, printable, reason_of

# Checkpoints to resume from. Files named best_* hold no optimiser.
_NAME = re.compile(r'(?:epoch|iter)_(\d+)(?:_step_(\d+))?\.pth')


def find_start(config: Config) -> tuple[dict[str, Any], list[str]]:
    """Find what a run loads, or which checkpoint it resumes from.

    Args:
        config: Its ``resume`` and ``load_from`` are read.

    Returns:
        The Runner's ``load_from`` and ``resume``, and sentences for the log.

    Raises:
        UserError: If the run resumes from a checkpoint that is damaged.
    """
    named = config.get('load_from')
    if not config.get('resume'):
        return dict(load_from=named, resume=False), []
    if named is None:
        path, notes = newest_intact(config.work_dir)
        if path is not None:
            return dict(load_from=str(path), resume=True), notes
        return dict(
            load_from=None, resume=False
        ), [
            f'{config.work_dir} has no checkpoint to resume from, so the run '
            'starts from the beginning'
        ]
    damage = find_damage(named) if Path(named).is_file() else None
    if damage is not None:
        raise UserError(f'--resume names the checkpoint {named}, which is '
                        f'damaged ({damage}): name another checkpoint, or '
                        'leave the name out to resume from the newest intact '
                        'one')
    return dict(load_from=named, resume=True), []


def find_damage(path: str | os.PathLike) -> str | None:
    """What is wrong with a checkpoint file; None if it is intact.

    The check sums that ``torch.save`` writes are verified, because
    ``torch.load`` ignores them. Then the file is read as a run would read it.
    """
    path = Path(path)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                record = file.testzip()
            if record is not None:
                return printable(
                    f'the check sum of its record {record} is wrong')
        inspect(path)
        load_restricted(path)
    # Damaged bytes can raise any exception in the parsers.
    except Exception as error:
        return printable(reason_of(error))
    return None


def newest_intact(
        work_dir: str | os.PathLike) -> tuple[Path | None, list[str]]:
    """The newest intact checkpoint of a run.

    That is the checkpoint that ``last_checkpoint`` names. If it is damaged,
    the one before it is taken, and so on.

    Args:
        work_dir: The work directory of the run; it need not exist.

    Returns:
        The checkpoint, or None if the run has saved none; and one sentence
        per damaged checkpoint that was skipped.

    Raises:
        UserError: If there are checkpoints but none is intact.
    """
    last = _last(Path(work_dir))
    folder = Path(work_dir) if last is None else last.parent
    earlier = sorted((path for path in folder.glob('*.pth')
                      if _NAME.fullmatch(path.name) and path != last),
                     key=_position,
                     reverse=True)
    if last is not None:
        # Checkpoints with higher numbers belong to an earlier run.
        earlier = [
            path for path in earlier if not _NAME.fullmatch(last.name)
            or _position(path) < _position(last)
        ]
    damages: list[str] = []
    for path in (*([] if last is None else [last]), *earlier):
        damage = find_damage(path)
        if damage is None:
            return path, [
                f'{text}: the run resumes from an earlier one'
                for text in damages
            ]
        damages.append(f'the checkpoint {path} is damaged ({damage})')
    if damages:
        raise UserError(f'{"; ".join(damages)}, and {folder} has no intact '
                        'one: start again without --resume')
    return None, []


def _last(work_dir: Path) -> Path | None:
    """The file that ``last_checkpoint`` names, if it exists."""
    try:
        named = Path((work_dir / 'last_checkpoint').read_text().strip())
    except (OSError, UnicodeDecodeError):
        return None
    # The work directory may have been moved.
    for path in (work_dir / named.name, named):
        if path.is_file():
            return path
    return None


def _position(path: Path) -> tuple[int, int]:
    """The epoch (or iteration) and the step in a checkpoint's name."""
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1]), int(match[2] or 0)
