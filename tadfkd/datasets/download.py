"""Find, download and check the files of a data set."""
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.logging import print_log


def is_first_on_machine() -> bool:
    """Whether this process downloads for all processes of its machine."""
    return os.environ.get('LOCAL_RANK', '0') == '0'


def find_folder(folders: Sequence[str | Path],
                names: Sequence[str]) -> Path | None:
    """The first folder that holds all of the named files."""
    for folder in map(Path, folders):
        if all((folder / name).is_file() for name in names):
            return folder
    return None


def warn_of_changed_files(folder: Path, md5: Mapping[str, str]) -> None:
    """Log one warning that names the files whose check sum differs."""
    changed = [
        name for name, checksum in md5.items()
        if hashlib.md5((folder / name).read_bytes()).hexdigest() != checksum
    ]
    if changed:
        print_log(
            f'{", ".join(changed)} in {folder} differ from the published '
            'files; accuracies cannot be compared to published ones',
            logger='current',
            level=30)
