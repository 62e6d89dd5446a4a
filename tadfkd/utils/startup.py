"""A check of the environment, made before mmpretrain is imported."""
from importlib.util import find_spec

from tadfkd.errors import UserError


class MissingDependency(UserError, ImportError):
    """A module that the requirements of the package cannot ask for."""


def check_dependencies() -> None:
    """Say in one sentence which module is missing.

    ``mmcv`` and ``mmcv-lite`` install the same module, so ``pyproject.toml``
    requires neither: one would overwrite the other.

    Raises:
        MissingDependency: If ``mmcv`` or ``pkg_resources`` cannot be found.
    """
    if find_spec('mmcv') is None:
        raise MissingDependency(
            'tadfkd needs the module `mmcv`, which is not installed: run `pip '
            'install mmcv-lite` (or install the full `mmcv` if you need its '
            'operators)')
    if find_spec('pkg_resources') is None:
        raise MissingDependency(
            'mmengine needs `pkg_resources`, which setuptools dropped in '
            'release 81: run `pip install "setuptools<81"`')
