"""Writing files so that they are never half-written."""
import contextlib
import errno
import json
import os
from pathlib import Path

_SUFFIX = '.tmp'


def write_atomically(path: str | os.PathLike, content: bytes) -> None:
    """Write a temporary file beside ``path``, sync it, and rename it.

    The folder is synced too, so that the file survives a power cut.

    Raises:
        OSError: If the file cannot be written; ``path`` is its file name,
            also if the system gives none. An earlier file is still there.
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
        # If this fails too, the first error is the one to report.
        with contextlib.suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError):
            error.filename = os.fspath(path)
        raise


def _sync_folder(folder: Path) -> None:
    """Sync the file names in a folder, if the system can do that."""
    if os.name != 'posix':
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def remove_leftovers(folder: str | os.PathLike) -> None:
    """Remove temporary files of :func:`write_atomically` by killed processes.

    Args:
        folder: A folder that no process writes into now.
    """
    for path in Path(folder).glob(f'.*.[0-9]*{_SUFFIX}'):
        path.unlink(missing_ok=True)


def write_json(path: str | os.PathLike, content: object) -> None:
    """Write indented JSON, atomically."""
    write_atomically(path, (json.dumps(content, indent=2) + '\n').encode())
