"""Finding, checking and fetching the files of a data set."""
import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.logging import print_log

from tadfkd.errors import UserError
from tadfkd.utils.files import write_atomically


def is_first_on_machine() -> bool:
    """Whether this process is the one of its machine that downloads."""
    return os.environ.get('LOCAL_RANK', '0') == '0'


def find_folder(folders: Sequence[str | Path],
                names: Sequence[str]) -> Path | None:
    """The first folder that holds all of the named files."""
    for folder in map(Path, folders):
        if all((folder / name).is_file() for name in names):
            return folder
    return None


def fetch(url: str, path: Path, md5: str | None = None) -> None:
    """Download a file, whole or not at all.

    Args:
        url: Where it is.
        path: Where it goes.
        md5: Its checksum, if one is known.

    Raises:
        UserError: If it cannot be had, or is not what the checksum says.
    """
    print_log(f'downloading {url} to {path}', logger='current')
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            content = response.read()
    except (urllib.error.URLError, OSError) as error:
        raise UserError(f'{path} is missing and {url} cannot be downloaded '
                        f'({error}): put the file there, or train with '
                        '--no-eval') from error
    got = hashlib.md5(content).hexdigest()
    if md5 is not None and got != md5:
        raise UserError(f'{url} has checksum {got} instead of {md5}: the '
                        'download is damaged; try again')
    write_atomically(path, content)


def warn_of_changed_files(folder: Path, md5: Mapping[str, str]) -> None:
    """Say once which files are not the published ones."""
    changed = [
        name for name, checksum in md5.items()
        if hashlib.md5((folder / name).read_bytes()).hexdigest() != checksum
    ]
    if changed:
        print_log(
            f'{", ".join(changed)} in {folder} differ from the published '
            'files; accuracies will not compare to published ones',
            logger='current',
            level=30)
