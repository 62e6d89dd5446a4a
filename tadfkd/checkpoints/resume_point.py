"""Which checkpoint a run goes on from."""
import os
import re
import zipfile
from pathlib import Path

from tadfkd.checkpoints.inspection import inspect
from tadfkd.checkpoints.unpickling import load_restricted
from tadfkd.errors import UserError

# Of a run; a best one holds no optimiser.
_NAME = re.compile(r'(?:epoch|iter)_(\d+)(?:_step_(\d+))?\.pth')


def find_damage(path: str | os.PathLike) -> str | None:
    """What is wrong with a checkpoint file; None if it is whole.

    It is read to its end, against the check sums that ``torch.save`` writes
    and ``torch.load`` does not look at, and then as it is to be read.
    """
    path = Path(path)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                record = file.testzip()
            if record is not None:
                return f'the check sum of its record {record} is wrong'
        inspect(path)
        load_restricted(path, 'cpu')
    # Damaged bytes can bring the parsers to anything.
    except Exception as error:
        reason = str(error).strip().partition('\n')[0]
        return reason or type(error).__name__
    return None


def newest_intact(
        work_dir: str | os.PathLike) -> tuple[Path | None, list[str]]:
    """The newest checkpoint of a run that is whole.

    It is the one that ``last_checkpoint`` names; if that is damaged, the one
    before, and so on.

    Args:
        work_dir: Of the run; it need not exist.

    Returns:
        The checkpoint, None if the run has saved none; and a sentence for
        each one that was passed over.

    Raises:
        UserError: If there are checkpoints and none is whole.
    """
    last = _last(Path(work_dir))
    folder = Path(work_dir) if last is None else last.parent
    earlier = sorted((path for path in folder.glob('*.pth')
                      if _NAME.fullmatch(path.name) and path != last),
                     key=_position,
                     reverse=True)
    if last is not None:
        # Later ones are of a run before this one.
        earlier = [
            path for path in earlier if not _NAME.fullmatch(last.name)
            or _position(path) < _position(last)
        ]
    damages: list[str] = []
    for path in (*([] if last is None else [last]), *earlier):
        damage = find_damage(path)
        if damage is None:
            return path, [
                f'{found}: going on from the one before' for found in damages
            ]
        damages.append(f'the checkpoint {path} is damaged ({damage})')
    if damages:
        raise UserError(f'{"; ".join(damages)}, and no other one in {folder} '
                        'is whole: start again without --resume')
    return None, []


def _last(work_dir: Path) -> Path | None:
    """What ``last_checkpoint`` names, if it is there."""
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
    """Epochs (or iterations) and steps in the name of a checkpoint."""
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1]), int(match[2] or 0)
