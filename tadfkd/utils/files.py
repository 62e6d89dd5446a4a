"""Files that are either whole or not there."""
import contextlib
import errno
import json
import os
from pathlib import Path

_SUFFIX = '.tmp'


def write_atomically(path: str | os.PathLike, content: bytes) -> None:
    """Write beside ``path``, sync, and rename onto it.

    After it has returned, the file survives a power cut too: the folder is
    synced like the file.

    Raises:
        OSError: With ``path`` as its file name, also where the system names
            none, as on a full disk. What was there before is there still.
    """
    path = Path(path)
    beside = path.with_name(f'.{path.name}.{os.getpid()}{_SUFFIX}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, 'wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        _sync_folder(path.parent)
    except BaseException as error:
        # Where it cannot be removed either, that is no news.
        with contextlib.suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError):
            error.filename = os.fspath(path)
        raise


def _sync_folder(folder: Path) -> None:
    """Make sure of the names in a folder, where the system can do that."""
    if os.name != 'posix':
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # So say file systems over a network that cannot.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def remove_leftovers(folder: str | os.PathLike) -> None:
    """Remove what killed processes have left of :func:`write_atomically`.

    Args:
        folder: In which nobody writes now.
    """
    for path in Path(folder).glob(f'.*.[0-9]*{_SUFFIX}'):
        path.unlink(missing_ok=True)


def write_json(path: str | os.PathLike, content: object) -> None:
    """Write indented JSON, atomically."""
    write_atomically(path, (json.dumps(content, indent=2) + '\n').encode())
