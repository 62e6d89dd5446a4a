"""A check of the environment, made once when the package is imported."""
from importlib.util import find_spec


def check_dependencies() -> None:
    """Say in one sentence which module is missing.

    ``mmcv`` and ``mmcv-lite`` install the same module, so ``setup.py``
    requires neither: one would overwrite the other.

    Raises:
        ImportError: If ``mmcv`` or ``pkg_resources`` cannot be found.
    """
    if find_spec('mmcv') is None:
        raise ImportError('tadfkd needs the module `mmcv`, which is not '
                          'installed: run `pip install mmcv-lite` (or install '
                          'the full `mmcv` if you need its operators)')
    if find_spec('pkg_resources') is None:
        raise ImportError('mmengine needs `pkg_resources`, which setuptools '
                          'dropped in release 81: run `pip install '
                          '"setuptools<81"`')
