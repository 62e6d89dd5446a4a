"""The configs that come with the package, by names such as
``tadfkd::dafl/resnet34_to_resnet18_cifar10.py``."""
import difflib
import os
from pathlib import Path

from tadfkd.errors import UserError

#: The folder of all shipped configs. A checkout has a link to its own.
CONFIGS = Path(__file__).parents[1].joinpath('.mim', 'configs').resolve()
PREFIX = 'tadfkd::'


def shipped_configs() -> list[str]:
    """The names of all shipped configs that can be run, in order."""
    return sorted(PREFIX + path.relative_to(CONFIGS).as_posix()
                  for path in CONFIGS.glob('[!_]*/*.py'))


def find_config(path: str | os.PathLike) -> Path:
    """The file of a config.

    Args:
        path: A config file, or ``tadfkd::`` and a path below
            :data:`CONFIGS`.

    Raises:
        UserError: If there is no such file.
    """
    name = os.fspath(path)
    file = CONFIGS / name.removeprefix(PREFIX) if name.startswith(
        PREFIX) else Path(name)
    if file.is_file():
        return file
    # Only the last folder counts: a checkout has configs/tadfkd/NAME.py.
    end = '/'.join(Path(name.removeprefix(PREFIX)).parts[-2:])
    similar = difflib.get_close_matches(PREFIX + end, shipped_configs(), 1,
                                        0.8)
    shipped = f'the shipped config {similar[0]}' if similar else \
        'a shipped config, which `tadfkd configs` lists'
    raise UserError(f'config {name} does not exist: name a file, or {shipped}')
