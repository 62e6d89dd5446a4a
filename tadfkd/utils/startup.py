"""A check of the environment, made before mmpretrain is imported."""
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from tadfkd.errors import UserError


class MissingDependency(UserError, ImportError):
    """A module that the requirements of the package cannot ask for."""


def check_dependencies() -> None:
    """Say in one sentence which module is missing.

    OpenMMLab's packages and their fork install the same modules, so
    ``pyproject.toml`` requires neither: one would overwrite the other.

    Raises:
        MissingDependency: If ``mmengine``, ``mmcv`` or ``mmpretrain`` cannot
            be found, or ``pkg_resources``, which OpenMMLab's mmengine needs.
    """
    for module in ('mmengine', 'mmcv', 'mmpretrain'):
        if find_spec(module) is None:
            raise MissingDependency(
                f'tadfkd needs the module `{module}`, which is not installed: '
                "run `pip install 'tadfkd[openmmlab]'`, or `pip install "
                "'tadfkd[onedl]'` for the fork of these packages")
    try:
        version('mmengine')
    except PackageNotFoundError:
        return
    if find_spec('pkg_resources') is None:
        raise MissingDependency(
            'mmengine needs `pkg_resources`, which setuptools dropped in '
            'release 81: run `pip install "setuptools<81"`')
